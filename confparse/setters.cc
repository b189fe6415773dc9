#include "confparse/setters.h"

namespace weir::conf {

namespace {

constexpr std::string_view kTimeHelp =
    "a time is a number with a unit: ms, s, m, h, d, w, and M or y where seconds are counted; "
    "largest first (1h30m); without a unit it is seconds";
constexpr std::string_view kSizeHelp =
    "a size is a number of bytes, or of kilobytes (k) or megabytes (m)";
constexpr std::string_view kOffsetHelp =
    "a size is a number of bytes, or of kilobytes (k), megabytes (m) or gigabytes (g)";

bool complain(Compiler& compiler, const Statement& statement, const char* what,
              std::string_view help = {}, size_t argument = 0) {
  compiler.error(statement, "\"" + std::string(statement.name()) + "\" directive " + what,
                 std::string(help), &statement.words[argument + 1]);
  return false;
}

template <class T, class Parsed>
bool store(Compiler& compiler, const Statement& statement, const std::optional<Parsed>& parsed,
           T& out, std::string_view help) {
  if (!parsed) return complain(compiler, statement, "invalid value", help);
  out.value = *parsed;
  return true;
}

}  // namespace

std::string one_of(const std::vector<std::string_view>& words) {
  std::string text = "it must be ";
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += '"';
    text += words[i];
    text += '"';
  }
  return text;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, bool& out) {
  const auto value = parse_flag(statement.argument(0));
  if (!value) {
    compiler.error(statement,
                   "invalid value \"" + std::string(until_nul(statement.argument(0))) + "\" in \"" +
                       std::string(statement.name()) + "\" directive, it must be \"on\" or \"off\"",
                   {}, &statement.words[1]);
    return false;
  }
  out = *value;
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Milliseconds& out) {
  return store(compiler, statement, parse_milliseconds(statement.argument(0)), out, kTimeHelp);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Seconds& out) {
  return store(compiler, statement, parse_seconds(statement.argument(0)), out, kTimeHelp);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Bytes& out) {
  return store(compiler, statement, parse_size(statement.argument(0)), out, kSizeHelp);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, FileOffset& out) {
  return store(compiler, statement, parse_offset(statement.argument(0)), out, kOffsetHelp);
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Number& out) {
  const auto value = parse_number(statement.argument(0));
  if (!value) return complain(compiler, statement, "invalid number");
  out.value = *value;
  return true;
}

bool read_setting(Compiler& compiler, Scope&, const Statement& statement, Buffers& out) {
  const auto count = parse_number(statement.argument(0));
  if (!count || *count == 0) return complain(compiler, statement, "invalid value");
  const auto size = parse_size(statement.argument(1));
  if (!size || *size == 0) return complain(compiler, statement, "invalid value", kSizeHelp, 1);
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
