#include <algorithm>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/locate.h"
#include "confparse/nearest.h"
#include "confparse/value.h"

// What we say beyond nginx about names that are unknown or misplaced.

namespace weir::conf {

namespace {

struct ContextName {
  Context context;
  const char* name;
};
constexpr ContextName kNames[] = {
    {kMain, "the top level of the file"},
    {kEvents, "events"},
    {kHttp, "http"},
    {kServer, "server"},
    {kLocation, "location"},
    {kUpstream, "upstream"},
    {kIfInServer, "if (in server)"},
    {kIfInLocation, "if (in location)"},
    {kLimitExcept, "limit_except"},
    {kStream, "stream"},
    {kStreamServer, "server (in stream)"},
    {kStreamUpstream, "upstream (in stream)"},
};

bool looks_like_address(std::string_view text) {
  const std::string_view host = text.substr(0, text.find(':'));
  uint32_t ipv4 = 0;
  if (parse_ipv4(host, ipv4) || text.starts_with('[') || text.starts_with("unix:")) return true;
  // "backend:8080", "app.example.com"
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos) return parse_number(text.substr(colon + 1)).has_value();
  return text.find('.') != std::string_view::npos;
}

bool is_ellipsis(std::string_view text) {
  return text.starts_with("...") || text.starts_with("\xe2\x80\xa6");
}

}  // namespace

std::string context_names(uint32_t where) {
  std::vector<const char*> names;
  for (const ContextName& entry : kNames) {
    if (where & entry.context) names.push_back(entry.name);
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::string Compiler::line_of(const Span& place, const Span& seen_from) const {
  const std::string line = std::to_string(sources_.locate(place.file, place.begin).line);
  return place.file == seen_from.file ? "line " + line : sources_.name(place.file) + ":" + line;
}

namespace {

std::string context_name(Context context) {
  return context == kMain ? "the top level of the file" : context_names(context);
}

bool is_if(Context context) {
  return context & (kIfInServer | kIfInLocation);
}

}  // namespace

std::string Compiler::help_misplaced(const Statement& statement, const Scope& scope) const {
  uint32_t where = 0;
  const auto [begin, end] = index_.equal_range(statement.name());
  for (auto row = begin; row != end; ++row) where |= row->second->where;
  const Span here = statement.words[0].span;
  // Inside http its blocks are meant, inside stream those.
  constexpr uint32_t kStreams = kStream | kStreamServer | kStreamUpstream;
  constexpr uint32_t kTop = kMain | kEvents;
  uint32_t shown = where;
  if (!(scope.context() & kTop)) {
    const uint32_t family = scope.context() & kStreams ? kStreams : ~(kStreams | kTop);
    if (where & family) shown = where & family;
  }
  const bool elsewhere = (scope.context() & kStreams) && !(where & (kStreams | kTop));
  std::string help = "it may stand in " + context_names(shown) + (elsewhere ? " of http" : "") +
                     "; this is " + context_name(scope.context());
  if (enclosing_.empty()) return help;
  const Enclosing& inner = enclosing_.back();
  if (inner.owner) help += ", which begins in " + line_of(inner.owner->words[0].span, here);
  if (unclosed_) {
    // One of the blocks around it would take it: then that "}" is missing before it.
    const bool outer = std::any_of(enclosing_.begin(), enclosing_.end() - 1,
                                   [where](const Enclosing& e) { return e.context & where; });
    if (outer) help += "\nis the \"}\" of that block missing before it?";
  }
  if (is_if(scope.context())) {
    help +=
        "\nan \"if\" takes few directives: put it into the block around and set its value with a "
        "map, or into a location of its own";
  }
  const Statement* before = nullptr;
  for (const Statement& other : inner.block->statements) {
    if (other.number >= statement.number) break;
    if (other.block) before = &other;
  }
  if (scope.context() == kMain && before &&
      (before->name() == "http" || before->name() == "stream")) {
    help += "\nthe block \"" + std::string(before->name()) + "\" was closed in " +
            line_of(before->block->close, here);
    if (stray_close_) help += ": there is one \"}\" too many before that line, or in it";
  } else if (scope.context() == kMain && !(where & kEvents) && !before) {
    help += "\nis this file a part of a configuration, meant to be included in its http block?";
  }
  return help;
}

namespace {

constexpr const char* kUnquotedExpression =
    "the \"{\" of an expression ended the word before it: put the expression into quotes";

// "4}…", "2,8}…": behind the '{' of an expression.
bool is_repetition(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789,");
  return digits != text.npos && digits > 0 && text[digits] == '}';
}

// What is wrong with a name that is not nearly right.
std::string help_strange_name(const Statement& statement, uint32_t context) {
  const std::string_view name = statement.name();
  if (is_ellipsis(name)) {
    return "\"" + std::string(name.substr(0, 3)) +
           "\" stands for lines left out of an example: delete it or write them";
  }
  if ((context & (kUpstream | kStreamUpstream)) && looks_like_address(name)) {
    return "did you forget the word \"server\" before the address?";
  }
  if (name.starts_with("\xef\xbb\xbf")) {
    return "the file begins with a byte order mark: save it as UTF-8 without BOM";
  }
  if (name.starts_with("\xe2\x80\x9c") || name.starts_with("\xe2\x80\x9d") ||
      name.starts_with("\xe2\x80\x98") || name.starts_with("\xe2\x80\x99")) {
    return "these are typographic quotes; use \" or '";
  }
  for (const std::string_view space :
       {"\xc2\xa0", "\xe2\x80\xaf", "\xe2\x80\x8b", "\xe3\x80\x80"}) {
    if (name.find(space) != name.npos) {
      return "there is a space of another kind in it (non-breaking or of no width), as web pages "
             "have them: replace it by an ordinary one";
    }
  }
  if (name.starts_with("//") || name.starts_with("/*") || name.starts_with("--") ||
      name.starts_with("<!--")) {
    return "a comment begins with \"#\"";
  }
  if (name.starts_with("<")) {
    return "this looks like a configuration of Apache, or like HTML: nginx's blocks are written "
           "\"name words { ... }\"";
  }
  if (name.starts_with("{{") || name.starts_with("{%") || name.starts_with("${")) {
    return "a placeholder of a template that was not filled in";
  }
  if (name == "else" || name == "elif" || name == "elsif" || name == "elseif") {
    return "there is no \"else\": write a second \"if\", or choose the value with a map";
  }
  if (name == "ssl") return "nginx 1.25.1 removed it: write \"listen 443 ssl;\"";
  if (is_repetition(name)) return kUnquotedExpression;
  if (name.starts_with("}"))
    return "after a \"}\" that ends a block a space or a new line must come";
  return {};
}

}  // namespace

namespace {

// Is `name` one of the words of `list`, or does it begin with one that ends in '*'?
bool in_list(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(' '), list.size());
    const std::string_view word = list.substr(0, end);
    if (word == name) return true;
    if (word.ends_with('*') && name.starts_with(word.substr(0, word.size() - 1))) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

}  // namespace

std::string Compiler::help_elsewhere(std::string_view name) const {
  for (const Module* module : modules_) {
    for (const Elsewhere& other : module->elsewhere) {
      if (!in_list(other.names, name)) continue;
      // Of a module that is here some directives may be missing.
      const bool here =
          std::any_of(modules_.begin(), modules_.end(),
                      [&other](const Module* known) { return known->name == other.module; });
      if (here) return "nginx's " + std::string(other.module) + " has it, this server does not";
      return "it belongs to " + std::string(other.module) + ", a module that is not built in here";
    }
  }
  return {};
}

// A '{' where a line should end.
std::string Compiler::help_brace(const Span& open) const {
  const std::string_view text = sources_.text(open.file).substr(open.begin, 32);
  if (text.starts_with("{{")) {
    return "\"{{ ... }}\" is a placeholder of a template: put the value in its place";
  }
  if (!text.empty() && is_repetition(text.substr(1))) return kUnquotedExpression;
  return "it takes no block: put a \";\" after its last word";
}

std::string Compiler::help_unknown(const Statement& statement, const Scope& scope,
                                   const Directive*& meant) const {
  const std::string_view name = statement.name();
  if (name.empty()) return "the name is empty: a pair of quotes with nothing in it";
  std::string help = help_strange_name(statement, scope.context());
  if (!help.empty()) return help;
  help = help_elsewhere(name);
  if (!help.empty()) return help;
  // "listen:" and "server=", "if(": a name with something else behind it.
  const size_t length = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789");
  if (length != name.npos && length > 0 && index_.contains(name.substr(0, length))) {
    const std::string known(name.substr(0, length));
    const char next = name[length];
    if (next == ':' || (next == '=' && known != "location")) {
      return std::string("no \"") + next + "\" stands between a directive and its words: " + known +
             " WORD ...;";
    }
    return "put a space after \"" + known + "\"";
  }
  // A name that is valid here is better than one that is not; then the nearest.
  Nearest nearest(name);
  for (const Module* module : modules_) {
    for (const Directive& directive : module->directives) {
      const bool here = directive.where & scope.context();
      if (nearest.consider(directive.name, here ? 0 : 1)) meant = &directive;
    }
  }
  if (!meant) return {};
  help = "did you mean \"" + std::string(meant->name) + "\"?";
  if (nearest.handicap() > 0) help += " It may stand in " + context_names(meant->where);
  return help;
}

// --- variables
// -------------------------------------------------------------------------------------

std::string Compiler::help_variable(const std::string& name) const {
  if (name.size() == 1 && name[0] == '0') {
    return "captures of an expression are $1 to $9";
  }
  const std::string elsewhere = help_elsewhere("$" + name);
  if (!elsewhere.empty()) return elsewhere;
  Nearest nearest(name);
  std::string_view longest;
  variables_->for_each_definition([&](const Variable& variable) {
    const std::string_view known = variable.name;
    if (!variable.prefix) {
      nearest.consider(known);
      if (name.starts_with(known) && known.size() > longest.size()) longest = known;
      return;
    }
    // The name that begins with this prefix, were it spelt right.
    const size_t underscore = name.find('_');
    if (underscore == name.npos || !known.ends_with('_')) return;
    const std::string_view wrong = std::string_view(name).substr(0, underscore + 1);
    if (edit_distance(wrong, known, 2) > (known.size() > 4 ? 2u : 1u)) return;
    nearest.consider(std::string(known) + name.substr(underscore + 1));
  });
  if (nearest.found()) return "did you mean \"$" + nearest.best() + "\"?";
  std::string help = "nothing defines $" + name + ": no module, no set, map or named capture";
  if (longest.size() > 2) {
    help += "\nif $" + std::string(longest) + " is meant, followed by \"" +
            name.substr(longest.size()) + "\": write ${" + std::string(longest) + "}" +
            name.substr(longest.size());
  }
  return help;
}

void Compiler::report_unknown_variables(uint32_t number, uint32_t stage, const Block& block) {
  const std::vector<std::string> unknown = variables_->finish();
  if (unknown.empty()) return;
  const auto uses = variable_uses(sources_, block);
  const bool failed_before = failed();
  size_t told = 0;
  for (const std::string& name : unknown) {
    if (failed_before && (incomplete_ || (told < kMostSearches && seems_to_define(block, name)))) {
      continue;
    }
    const auto use = uses.find(name);
    late_error(number, stage, "unknown \"" + name + "\" variable", nullptr,
               told++ < kMostSearches ? help_variable(name) : std::string(), Severity::emerg,
               use == uses.end() ? Span{} : use->second);
  }
}

}  // namespace weir::conf
