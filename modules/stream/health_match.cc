#include "modules/stream/health_match.h"

#include <charconv>

#include "modules/shared/health_check.h"

namespace weir::stream {
namespace {

using conf::Compiler;
using conf::Statement;

void wrong_count(Compiler& compiler, const Statement& line) {
  compiler.error(line,
                 "invalid number of arguments in \"" + std::string(line.name()) + "\" directive");
}

}  // namespace

std::string decode_hexadecimal(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\\x" && i + 4 <= text.size()) {
      unsigned byte = 0;
      const char* end = text.data() + i + 4;
      if (std::from_chars(text.data() + i + 2, end, byte, 16).ptr == end) {
        result += static_cast<char>(byte);
        i += 3;
        continue;
      }
    }
    result += text[i];
  }
  return result;
}

void HealthMatch::read(Compiler& compiler, const Statement& at) {
  for (const Statement& line : at.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    read_line(compiler, line);
  }
}

void HealthMatch::read_line(Compiler& compiler, const Statement& line) {
  if (line.name() == "send") {
    if (line.argument_count() != 1) return wrong_count(compiler, line);
    if (send_) return compiler.duplicate(line);
    send_ = decode_hexadecimal(line.argument(0));
  } else if (line.name() == "expect") {
    read_expect(compiler, line);
  } else {
    compiler.error(line, "unknown directive \"" + std::string(line.name()) + "\"",
                   "a match block has the lines send and expect");
  }
}

void HealthMatch::read_expect(Compiler& compiler, const Statement& line) {
  if (expects()) return compiler.duplicate(line);
  if (line.argument_count() == 1) {
    literal_ = decode_hexadecimal(line.argument(0));
    return;
  }
  if (line.argument_count() != 2) return wrong_count(compiler, line);
  const auto how = shared::read_regex_operator(line.argument(0));
  if (!how || how->negated) return compiler.invalid_parameter(line, line.words[1]);
  regex_ = compiler.make_regex(line, line.words[2], line.argument(1), how->ignore_case);
}

bool HealthMatch::is_met_by(std::string_view data) const {
  if (regex_) return bool(regex_->match(data));
  return !literal_ || data.find(*literal_) != data.npos;
}

}  // namespace weir::stream
