#pragma once

#include <string>
#include <string_view>
#include <vector>

// Explanations of values: what a time, a size, a port looks like, and what the wrong one was meant
// to be. All return text for a reader, without a final dot or newline; empty when there is none.
namespace weir::conf {

std::string explain_time(std::string_view wrong);
// `giga`: k, m and g; else k and m.
std::string explain_size(std::string_view wrong, bool giga);
std::string explain_number(std::string_view wrong);
// Instead of on or off.
std::string explain_flag(std::string_view wrong);
// One of `words`: the nearest, and all of them.
std::string explain_choice(std::string_view wrong, const std::vector<std::string_view>& words);

// A parameter of a directive as its Usage has it.
struct UsageParameter {
  std::string_view name;   // "backlog"
  std::string_view value;  // "NUMBER"; empty for a word that stands alone
};
std::vector<UsageParameter> usage_parameters(std::string_view words);

// Help for the argument of number `index` (0 is the first) that is refused, from the usage of its
// directive: the parameter it was meant to be, or what the value at its place looks like.
std::string explain_argument(std::string_view usage, std::string_view wrong, size_t index);

// Help for messages that many directives share, by their text: ports, hosts, files, expressions.
std::string explain_message(std::string_view text);

}  // namespace weir::conf
