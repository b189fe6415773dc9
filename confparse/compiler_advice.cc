#include <algorithm>

#include "confparse/advice.h"
#include "confparse/compiler.h"
#include "confparse/locate.h"

// What is added to problems of all kinds: a place, the usage of the directive, the word that was
// meant.

namespace weir::conf {

namespace {

// Of longer statements only so many words are looked at.
constexpr size_t kMostWords = 1000;

}  // namespace

std::string_view Compiler::usage_of(const Directive& directive) const {
  for (const Module* module : modules_) {
    for (const Usage& usage : module->usages) {
      if (usage.name == directive.name && (usage.where & directive.where)) return usage.words;
    }
  }
  return {};
}

std::string Compiler::usage_line(const Directive& directive) const {
  const std::string_view words = usage_of(directive);
  if (words.empty()) return {};
  return "usage: " + std::string(directive.name) + " " + std::string(words) +
         (directive.form == Form::block ? " { ... }" : ";");
}

std::string Compiler::missing_semicolon(const Statement& at, const Word& word) const {
  const size_t index = static_cast<size_t>(&word - at.words.data());
  if (index == 0 || index >= at.words.size()) return {};
  const Word* before = &word - 1;
  if (before->span.file == 0 || before->span.file != word.span.file) return {};
  const uint32_t line = sources_.locate(before->span.file, before->span.end).line;
  if (sources_.locate(word.span.file, word.span.begin).line == line) return {};
  return "is a \";\" missing at the end of line " + std::to_string(line) + "?";
}

std::string Compiler::help_arity(const Statement& statement, const Directive& directive,
                                 const Word*& caret) const {
  const Arity arity = directive.form == Form::flag ? Arity{1, 1} : directive.args;
  const size_t count = statement.argument_count();
  std::string help = "it takes ";
  if (arity.max == 0) {
    help += "no words";
  } else {
    if (arity.max == kNoLimit) help += "at least ";
    help += std::to_string(arity.min);
    if (arity.max != arity.min && arity.max != kNoLimit) {
      help += (arity.max == arity.min + 1 ? " or " : " to ") + std::to_string(arity.max);
    }
    help += arity.max == 1 || (arity.max == kNoLimit && arity.min == 1) ? " word" : " words";
  }
  help += count == 1 ? ", here is 1" : ", here are " + std::to_string(count);
  if (count > arity.max) {
    // A missing ";" makes the next statement's words look like arguments: show where they begin.
    caret = &statement.words[arity.max + 1u];
    for (const Word& word :
         statement.words.first(std::min(statement.words.size(), kMostWords)).subspan(1)) {
      const std::string missing =
          index_.contains(word.text) ? missing_semicolon(statement, word) : "";
      if (missing.empty()) continue;
      caret = &word;
      return help + "; " + missing;
    }
    const std::string missing = missing_semicolon(statement, *caret);
    if (!missing.empty()) return help + "; " + missing;
    if (statement.argument(0) == "=")
      return help + "\nno \"=\" stands between a directive and its words";
    if (arity.max == 1) help += "; words with spaces between them need quotes";
  }
  const std::string usage = usage_line(directive);
  if (!usage.empty()) help += "\n" + usage;
  return help;
}

std::string Compiler::advice(const Statement& at, const Word* word, std::string_view text,
                             std::string help) const {
  const bool refused = text.starts_with("invalid ") || text.starts_with("the invalid ") ||
                       text.starts_with("unknown parameter") ||
                       text.find(" directive invalid ") != text.npos ||
                       text.find("\" must have ") != text.npos;
  // A lost ";" may be seen late, or only as a warning.
  for (const Word& other : at.words.first(std::min(at.words.size(), kMostWords)).subspan(1)) {
    if (text.starts_with("invalid number of arguments") || !index_.contains(other.text)) continue;
    const std::string missing = missing_semicolon(at, other);
    if (missing.empty()) continue;
    // A strange name is explained already; what the ';' explains needs no more.
    if (text.starts_with("unknown directive") && !help.empty()) break;
    const bool enough = help.empty() || text.ends_with("is not terminated by \";\"");
    return enough ? missing : missing + "\n" + help;
  }
  // Lines of data (map, types) have no usage of their own.
  const bool known = directive_ && directive_->name == at.name();
  if (!refused || !known) return help.empty() ? explain_message(text) : help;
  if (text.starts_with("invalid number of arguments")) return help;
  std::string more = help.empty() ? explain_message(text) : std::string();
  const std::string_view usage = usage_of(*directive_);
  // What the message alone explains (a port, a host) needs no usage.
  if (usage.empty() || !more.empty()) return help + more;
  if (more.empty() && word && word != &at.words[0]) {
    const auto index = static_cast<size_t>(
        std::count_if(at.words.begin(), at.words.end(), [word](const Word& other) {
          return other.span.file == word->span.file && other.span.begin < word->span.begin;
        }));
    more = explain_argument(usage, word->text, index > 0 ? index - 1 : 0);
    // What the setter said of the value is better than what we say; a likeness is news.
    const bool likeness = more.starts_with("did you mean");
    if (!help.empty() && (!likeness || help.starts_with("did you mean"))) more.clear();
  }
  const std::string line = help.empty() ? usage_line(*directive_) : help;
  return more.empty() ? line : more + "\n" + line;
}

Span Compiler::in_effect(std::string_view name) const {
  Span found;
  for (auto at = enclosing_.rbegin(); at != enclosing_.rend() && found.file == 0; ++at) {
    found = find_name(*at->block, name, Depth::this_block);
  }
  return found;
}

Span Compiler::search(std::string_view text) const {
  if (!file_block_ || diagnostics_.size() >= kMostSearches) return {};
  const auto find = [this](auto&& finder, std::string_view wanted, bool everywhere) {
    Span found;
    for (auto at = enclosing_.rbegin(); at != enclosing_.rend() && found.file == 0; ++at) {
      found = finder(*at->block, wanted, Depth::this_block);
    }
    if (found.file == 0 && everywhere) found = finder(*file_block_, wanted, Depth::all_blocks);
    return found;
  };
  // A word that the text quotes …
  for (size_t begin = text.find('"'); begin != text.npos; begin = text.find('"', begin + 1)) {
    const size_t end = text.find('"', begin + 1);
    if (end == text.npos) break;
    const std::string_view wanted = text.substr(begin + 1, end - begin - 1);
    const Span found = find([](const Block& block, std::string_view word,
                               Depth depth) { return find_word(block, word, depth); },
                            wanted, true);
    if (found.file != 0) return found;
    begin = end;
  }
  // … or a directive that it names.
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_0123456789";
  for (size_t begin = text.find_first_of(kLetters); begin != text.npos;) {
    const size_t end = std::min(text.find_first_not_of(kLetters, begin), text.size());
    const std::string_view name = text.substr(begin, end - begin);
    if (name.find('_') != name.npos && index_.contains(name)) {
      const Span found = find([](const Block& block, std::string_view word,
                                 Depth depth) { return find_name(block, word, depth); },
                              name, true);
      if (found.file != 0) return found;
    }
    begin = text.find_first_of(kLetters, end);
  }
  return {};
}

}  // namespace weir::conf
