#pragma once

#include <string>
#include <string_view>

namespace weir::conf {

// What every match of an expression must contain, as far as its text shows it at a glance: most
// expressions of a configuration begin with "^/some/path" or "\.", and most subjects can be told
// not to match without asking PCRE. Says nothing when in doubt.
class RegexHint {
 public:
  RegexHint() = default;
  RegexHint(std::string_view pattern, bool ignore_case);
  // False: there is no match. True: PCRE decides.
  bool may_match(std::string_view subject) const;

 private:
  std::string prefix_;  // subjects begin with it
  char required_ = 0;   // subjects contain it; 0: nothing known
  bool ignore_case_ = false;
};

}  // namespace weir::conf
