#include "confparse/setters.h"

#include "confparse/advice.h"

namespace weir::conf {

namespace {

bool complain(Compiler& compiler, const Statement& statement, const char* what,
              std::string help = {}, size_t argument = 0) {
  compiler.error(statement, "\"" + std::string(statement.name()) + "\" directive " + what,
                 std::move(help), &statement.words[argument + 1]);
  return false;
}

template <class T, class Parsed, class Explain>
bool store(Compiler& compiler, const Statement& statement, const std::optional<Parsed>& parsed,
           T& out, Explain explain) {
  if (!parsed)
    return complain(compiler, statement, "invalid value", explain(statement.argument(0)));
  out.value = *parsed;
  return true;
}

std::string explain_bytes(std::string_view wrong) {
  return explain_size(wrong, false);
}
std::string explain_offset(std::string_view wrong) {
  return explain_size(wrong, true);
}

}  // namespace

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, bool& out) {
  const auto value = parse_flag(statement.argument(0));
  if (!value) {
    compiler.error(statement,
                   "invalid value \"" + std::string(until_nul(statement.argument(0))) + "\" in \"" +
                       std::string(statement.name()) + "\" directive, it must be \"on\" or \"off\"",
                   explain_flag(statement.argument(0)), &statement.words[1]);
    return false;
  }
  out = *value;
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Milliseconds& out) {
  return store(compiler, statement, parse_milliseconds(statement.argument(0)), out, explain_time);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Seconds& out) {
  return store(compiler, statement, parse_seconds(statement.argument(0)), out, explain_time);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Bytes& out) {
  return store(compiler, statement, parse_size(statement.argument(0)), out, explain_bytes);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, FileOffset& out) {
  return store(compiler, statement, parse_offset(statement.argument(0)), out, explain_offset);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Number& out) {
  const auto value = parse_number(statement.argument(0));
  if (!value)
    return complain(compiler, statement, "invalid number", explain_number(statement.argument(0)));
  out.value = *value;
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Buffers& out) {
  const auto count = parse_number(statement.argument(0));
  if (!count || *count == 0) {
    return complain(compiler, statement, "invalid value",
                    "the number of buffers, at least 1, and then the size of one: 8 4k");
  }
  const auto size = parse_size(statement.argument(1));
  if (!size || *size == 0)
    return complain(compiler, statement, "invalid value", explain_bytes(statement.argument(1)), 1);
  out = {static_cast<size_t>(*count), *size};
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, AccessMode& out) {
  unsigned bits = 0600;
  for (const Word& word : statement.words.subspan(1)) {
    const size_t colon = word.text.find(':');
    const std::string_view who = word.text.substr(0, colon);
    const std::string_view what =
        colon == std::string_view::npos ? std::string_view() : word.text.substr(colon + 1);
    const unsigned places = who == "user" ? 0100 : who == "group" ? 010 : who == "all" ? 01 : 0;
    const unsigned rights = what == "rw" ? 6 : what == "r" ? 4 : 0;
    if (places == 0 || rights == 0) {
      compiler.invalid_value(statement, word, "user:, group: or all:, each followed by r or rw");
      return false;
    }
    bits |= places * rights;
  }
  out.bits = bits;
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, FolderTree& out) {
  FolderTree tree;
  tree.path = statement.argument(0);
  if (tree.path.ends_with('/')) tree.path.pop_back();
  for (size_t i = 1; i < statement.argument_count() && i <= 3; ++i) {
    const auto length = parse_number(statement.argument(i));
    if (!length || *length == 0) return complain(compiler, statement, "invalid value", {}, i);
    tree.levels[i - 1] = static_cast<size_t>(*length);
  }
  out = std::move(tree);
  return true;
}

bool read_setting(Compiler&, Scope&, const Statement& statement, std::string& out) {
  out = statement.argument(0);
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Template& out) {
  out = compiler.make_template(statement, statement.words[1]);
  return true;
}

namespace {

// True when the inherited list is to be dropped.
bool starts_list(Compiler& compiler, Scope& scope) {
  return compiler.directive().merge == Merge::replace_list && compiler.first_use(scope);
}

}  // namespace

bool read_setting(Compiler& compiler, Scope& scope, const Statement& statement,
                  std::vector<std::string>& out) {
  if (starts_list(compiler, scope)) out.clear();
  for (const Word& word : statement.words.subspan(1)) out.emplace_back(word.text);
  return true;
}

bool read_setting(Compiler& compiler, Scope& scope, const Statement& statement,
                  std::vector<Template>& out) {
  if (starts_list(compiler, scope)) out.clear();
  for (const Word& word : statement.words.subspan(1)) {
    out.push_back(compiler.make_template(statement, word));
  }
  return true;
}

bool read_setting(Compiler& compiler, Scope& scope, const Statement& statement,
                  std::vector<std::pair<std::string, std::string>>& out) {
  if (starts_list(compiler, scope)) out.clear();
  out.emplace_back(statement.argument(0), statement.argument(1));
  return true;
}

}  // namespace weir::conf
