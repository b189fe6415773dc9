#include "modules/http/health_match.h"

#include <algorithm>

#include "confparse/value.h"
#include "modules/shared/health_check.h"

namespace weir::http {
namespace {

using conf::Compiler;
using conf::Statement;

std::optional<int> read_code(std::string_view text) {
  const auto number = conf::parse_number(text);
  if (!number || *number < 100 || *number > 999) return std::nullopt;
  return static_cast<int>(*number);
}

void wrong_count(Compiler& compiler, const Statement& line) {
  compiler.error(line,
                 "invalid number of arguments in \"" + std::string(line.name()) + "\" directive");
}

}  // namespace

void HealthMatch::read(Compiler& compiler, const Statement& at) {
  for (const Statement& line : at.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    read_line(compiler, line);
  }
}

void HealthMatch::read_line(Compiler& compiler, const Statement& line) {
  if (line.name() == "status") return read_status(compiler, line);
  if (line.name() == "header") return read_header(compiler, line);
  if (line.name() == "body") return read_body(compiler, line);
  if (line.name() == "require") return read_require(compiler, line);
  compiler.error(line, "unknown directive \"" + std::string(line.name()) + "\"",
                 "a match block has lines that begin with status, header, body or require");
}

void HealthMatch::read_status(Compiler& compiler, const Statement& line) {
  StatusTest test;
  auto words = line.words.subspan(1);
  if (!words.empty() && words[0].text == "!") {
    test.negated = true;
    words = words.subspan(1);
  }
  if (words.empty()) return wrong_count(compiler, line);
  for (const conf::Word& word : words) {
    const std::string_view text = word.text;
    const size_t dash = text.find('-');
    const auto first = read_code(text.substr(0, dash));
    const auto last = dash == text.npos ? first : read_code(text.substr(dash + 1));
    if (!first || !last || *first > *last) {
      return compiler.error(line, "invalid status \"" + std::string(text) + "\"", {}, &word);
    }
    test.ranges.emplace_back(*first, *last);
  }
  statuses_.push_back(std::move(test));
}

void HealthMatch::read_header(Compiler& compiler, const Statement& line) {
  HeaderTest test;
  const size_t count = line.argument_count();
  if (count == 1) {
    test.name = line.argument(0);
  } else if (count == 2 && line.argument(0) == "!") {
    test.negated = true;
    test.name = line.argument(1);
  } else if (count == 3) {
    test.name = line.argument(0);
    const std::string_view how = line.argument(1);
    if (how == "=" || how == "!=") {
      test.kind = HeaderTest::Kind::equal;
      test.negated = how == "!=";
      test.value = line.argument(2);
    } else if (const auto regex = shared::read_regex_operator(how)) {
      test.kind = HeaderTest::Kind::regex;
      test.negated = regex->negated;
      test.regex = compiler.make_regex(line, line.words[3], line.argument(2), regex->ignore_case);
      if (!test.regex) return;
    } else {
      return compiler.invalid_parameter(line, line.words[2]);
    }
  } else {
    return wrong_count(compiler, line);
  }
  headers_.push_back(std::move(test));
}

void HealthMatch::read_body(Compiler& compiler, const Statement& line) {
  if (line.argument_count() != 2) return wrong_count(compiler, line);
  const auto how = shared::read_regex_operator(line.argument(0));
  if (!how) return compiler.invalid_parameter(line, line.words[1]);
  BodyTest test;
  test.negated = how->negated;
  test.regex = compiler.make_regex(line, line.words[2], line.argument(1), how->ignore_case);
  if (test.regex) bodies_.push_back(std::move(test));
}

void HealthMatch::read_require(Compiler& compiler, const Statement& line) {
  if (line.argument_count() == 0) return wrong_count(compiler, line);
  for (const conf::Word& word : line.words.subspan(1)) {
    const std::string_view text = word.text;
    if (!text.starts_with('$') || text.size() == 1) {
      return compiler.error(line, "invalid variable name \"" + std::string(text) + "\"", {}, &word);
    }
    required_.push_back(compiler.variables().use(text.substr(1)));
  }
}

bool HealthMatch::takes_status(int status) const {
  for (const StatusTest& test : statuses_) {
    const bool found = std::any_of(
        test.ranges.begin(), test.ranges.end(),
        [status](const auto& range) { return status >= range.first && status <= range.second; });
    if (found == test.negated) return false;
  }
  return true;
}

// A field that comes several times: one of them is enough, and with a negation none may hold.
bool HealthMatch::holds(const HeaderTest& test, const HeaderList& headers) {
  bool present = false;
  bool found = false;
  for (const Header& header : headers) {
    if (!conf::equal_without_case(header.name, test.name)) continue;
    present = true;
    if (test.kind == HeaderTest::Kind::equal) found |= header.value == test.value;
    if (test.kind == HeaderTest::Kind::regex) found |= bool(test.regex->match(header.value));
  }
  if (test.kind == HeaderTest::Kind::present) return present != test.negated;
  return present && found != test.negated;
}

bool HealthMatch::takes_headers(const HeaderList& headers) const {
  return std::all_of(headers_.begin(), headers_.end(),
                     [&](const HeaderTest& test) { return holds(test, headers); });
}

bool HealthMatch::takes_body(std::string_view body) const {
  return std::all_of(bodies_.begin(), bodies_.end(), [&](const BodyTest& test) {
    const conf::Regex::Match match = test.regex->match(body);
    // One that was given up says nothing.
    return match.result != conf::Regex::Match::Result::failed && bool(match) != test.negated;
  });
}

bool HealthMatch::takes_variables(conf::VariableSource& source) const {
  return std::all_of(required_.begin(), required_.end(), [&](conf::VariableId id) {
    const conf::Value value = source.variable(id);
    return value.found && !value.text.empty() && value.text != "0";
  });
}

}  // namespace weir::http
