#include "confparse/pattern.h"

#include <string>

#include "confparse/compiler.h"
#include "confparse/value.h"

namespace weir::conf {

namespace {

// A named capture that has not matched yet.
Value not_found(VariableSource&, const Variable&) {
  return Value::none();
}

// The word that `text` is a part of, for the caret.
const Word& word_of(const Statement& at, std::string_view text) {
  for (const Word& word : at.words) {
    const char* begin = word.text.data();
    if (text.data() >= begin && text.data() + text.size() <= begin + word.text.size()) return word;
  }
  return at.words.back();
}

}  // namespace

std::unique_ptr<Pattern> make_pattern(Compiler& compiler, const Statement& at,
                                      std::string_view text, bool ignore_case) {
  const Word& word = word_of(at, text);
  auto pattern = std::make_unique<Pattern>();
  pattern->regex = compiler.make_regex(at, word, text, ignore_case);
  if (!pattern->regex) return nullptr;
  for (const Regex::Named& named : pattern->regex->names()) {
    Variable variable;
    variable.name = named.name;
    variable.get = not_found;
    variable.changeable = true;
    if (!compiler.variables().define(std::move(variable))) {
      compiler.error(at, "the duplicate \"" + lower_case(named.name) + "\" variable",
                     "a named capture may not have the name of a built-in variable", &word);
      return nullptr;
    }
    pattern->named_captures.emplace_back(named.group, compiler.variables().use(named.name));
  }
  return pattern;
}

}  // namespace weir::conf
