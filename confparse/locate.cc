#include "confparse/locate.h"

#include <algorithm>

#include "confparse/value.h"

namespace weir::conf {

namespace {

bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

using Uses = std::unordered_map<std::string, Span>;

void add_uses(const Sources& sources, const Word& word, Uses& uses) {
  const std::string_view text =
      sources.text(word.span.file).substr(word.span.begin, word.span.end - word.span.begin);
  for (size_t at = text.find('$'); at != text.npos; at = text.find('$', at + 1)) {
    const bool bracket = at + 1 < text.size() && text[at + 1] == '{';
    const size_t begin = at + 1 + bracket;
    size_t end = begin;
    while (end < text.size() && in_name(text[end])) ++end;
    if (end == begin) continue;
    const bool closed = bracket && end < text.size() && text[end] == '}';
    const auto offset = [&](size_t index) {
      return word.span.begin + static_cast<uint32_t>(index);
    };
    uses.try_emplace(lower_case(text.substr(begin, end - begin)),
                     Span{word.span.file, offset(at), offset(end + closed)});
  }
}

void collect_uses(const Sources& sources, const Block& block, Uses& uses) {
  for (const Statement& statement : block.statements) {
    for (const Word& word : statement.words) add_uses(sources, word, uses);
    if (statement.block) collect_uses(sources, *statement.block, uses);
  }
}

bool has_capture(std::string_view text, std::string_view name) {
  for (const std::string_view opening : {"?<", "?P<", "?'"}) {
    for (size_t at = text.find(opening); at != text.npos; at = text.find(opening, at + 1)) {
      const std::string_view rest = text.substr(at + opening.size());
      if (rest.size() > name.size() && equal_without_case(rest.substr(0, name.size()), name) &&
          !in_name(rest[name.size()])) {
        return true;
      }
    }
  }
  return false;
}

bool is_part(std::string_view text, std::string_view wanted) {
  const auto divides = [](char c) { return c == '=' || c == ':' || c == ','; };
  for (size_t at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    if ((at == 0 || divides(text[at - 1])) && (end == text.size() || divides(text[end])))
      return true;
  }
  return false;
}

// How well a word fits: 0 is exactly, 3 is not at all.
unsigned misfit(std::string_view word, std::string_view wanted) {
  if (word.empty()) return 3;
  if (word == wanted) return 0;
  if (wanted.starts_with('/') && wanted.size() > word.size() && wanted.ends_with(word) &&
      wanted[wanted.size() - word.size() - 1] == '/') {
    return 1;
  }
  return is_part(word, wanted) ? 2 : 3;
}

void find_word(const Block& block, std::string_view text, Depth depth, unsigned& best,
               Span& found) {
  for (const Statement& statement : block.statements) {
    for (const Word& word : statement.words.subspan(1)) {
      const unsigned now = misfit(word.text, text);
      if (now >= best) continue;
      best = now;
      found = word.span;
    }
    if (statement.block && depth == Depth::all_blocks) {
      find_word(*statement.block, text, depth, best, found);
    }
  }
}

}  // namespace

std::unordered_map<std::string, Span> variable_uses(const Sources& sources, const Block& block) {
  Uses uses;
  collect_uses(sources, block, uses);
  return uses;
}

bool seems_to_define(const Block& block, std::string_view name) {
  for (const Statement& statement : block.statements) {
    // What takes a variable's name as a whole word, at one of its first two places, defines it (or
    // is a use, which is then the wrong guess of being too quiet).
    const std::string_view first = statement.name();
    const bool defines = first == "set" || first == "map" || first == "geo" || statement.block ||
                         first.ends_with("_set") || first.starts_with("set_") ||
                         first.starts_with("perl_") || first.starts_with("js_");
    for (size_t i = 1; i < statement.words.size(); ++i) {
      const std::string_view word = statement.words[i].text;
      if (defines && i <= 2 && word.starts_with('$') && equal_without_case(word.substr(1), name) &&
          !(i == 1 && statement.words.size() > 2 && (first == "map" || first == "geo"))) {
        return true;
      }
      if (has_capture(word, name)) return true;
    }
    if (statement.block && seems_to_define(*statement.block, name)) return true;
  }
  return false;
}

Span find_word(const Block& block, std::string_view text, Depth depth) {
  Span found;
  unsigned best = 3;
  if (!text.empty()) find_word(block, text, depth, best, found);
  return found;
}

Span find_name(const Block& block, std::string_view name, Depth depth) {
  Span found;
  for (const Statement& statement : block.statements) {
    if (statement.name() == name) found = statement.words[0].span;
    if (statement.block && depth == Depth::all_blocks) {
      const Span inside = find_name(*statement.block, name, depth);
      if (inside.file != 0) found = inside;
    }
  }
  return found;
}

}  // namespace weir::conf
