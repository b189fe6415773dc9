#include "confparse/regex_hint.h"

#include <cstring>

namespace weir::conf {

namespace {

bool is_letter(char c) {
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'z';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "a|b" outside of every group: what stands in front need not be there.
bool has_alternatives(std::string_view pattern) {
  int depth = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      ++i;
    } else if (c == '[') {
      // A bracket right at the beginning belongs to the class.
      ++i;
      if (i < pattern.size() && pattern[i] == '^') ++i;
      if (i < pattern.size() && pattern[i] == ']') ++i;
      while (i < pattern.size() && pattern[i] != ']') i += pattern[i] == '\\' ? 2 : 1;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')') {
      --depth;
    } else if (c == '|' && depth <= 0) {
      return true;
    }
  }
  return false;
}

// One character that stands for itself; 0: something else, or nothing.
char take_literal(std::string_view& rest) {
  if (rest.empty()) return 0;
  char c = rest[0];
  size_t used = 1;
  if (c == '\\') {
    if (rest.size() < 2 || is_letter(rest[1]) || is_digit(rest[1]) || rest[1] <= ' ' ||
        rest[1] == 0x7f) {
      return 0;
    }
    c = rest[1];
    used = 2;
  } else if (!is_letter(c) && !is_digit(c) && c != '/' && c != '_' && c != '-') {
    return 0;
  }
  // What may be left out, or counted, says nothing.
  if (used < rest.size() && std::strchr("*?{", rest[used]) != nullptr) return 0;
  const bool repeated = used < rest.size() && rest[used] == '+';
  rest.remove_prefix(repeated ? rest.size() : used);
  return c;
}

}  // namespace

RegexHint::RegexHint(std::string_view pattern, bool ignore_case) : ignore_case_(ignore_case) {
  // Quotations, comments and control characters may hide anything.
  for (const std::string_view odd : {"\\Q", "\\c", "#"}) {
    if (pattern.find(odd) != std::string_view::npos) return;
  }
  if (has_alternatives(pattern)) return;
  std::string_view rest = pattern;
  if (rest.starts_with('^')) {
    rest.remove_prefix(1);
    while (const char c = take_literal(rest)) prefix_ += c;
    return;
  }
  const char first = take_literal(rest);
  if (!(ignore_case && is_letter(first))) required_ = first;
}

bool RegexHint::may_match(std::string_view subject) const {
  if (!prefix_.empty()) {
    if (subject.size() < prefix_.size()) return false;
    if (!ignore_case_) return std::memcmp(subject.data(), prefix_.data(), prefix_.size()) == 0;
    for (size_t i = 0; i < prefix_.size(); ++i) {
      const char a = prefix_[i];
      const char b = subject[i];
      if (a != b && !(is_letter(a) && (a | 0x20) == (b | 0x20))) return false;
    }
    return true;
  }
  return required_ == 0 ||
         (!subject.empty() && std::memchr(subject.data(), required_, subject.size()) != nullptr);
}

}  // namespace weir::conf
