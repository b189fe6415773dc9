#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/regex.h"
#include "confparse/variables.h"

namespace weir::conf {

class Compiler;
struct Statement;

// A regular expression of the configuration, with the variables that its named captures set.
// Matched at run time through VariableSource::match, which keeps the captures.
struct Pattern {
  Ref<Regex> regex;
  std::vector<std::pair<uint32_t, VariableId>> named_captures;  // group, variable
};

// Compiles an expression and defines its named captures as variables of the subsystem that is being
// compiled. Null after an error, which has been reported at `at` in nginx's words.
std::unique_ptr<Pattern> make_pattern(Compiler& compiler, const Statement& at,
                                      std::string_view text, bool ignore_case);

}  // namespace weir::conf
