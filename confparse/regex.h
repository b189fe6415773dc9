#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/ref.h"
#include "confparse/regex_hint.h"

struct pcre2_real_code_8;

namespace weir::conf {

// A compiled regular expression (PCRE2, bytes, no UTF unless the pattern asks). Shared by the
// settings that use it; matched on one thread at a time, while other threads may match other
// expressions.
class Regex final : public RefCounted {
 public:
  struct Named {
    std::string name;
    uint32_t group;
  };
  // The result of compile(): `error` is nginx's text (`pcre2_compile() failed: … in "…" at "…"`).
  struct Compiled {
    Ref<Regex> regex;
    std::string error;
  };
  static Compiled compile(std::string_view pattern, bool ignore_case, bool jit);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Offsets of a match: pairs [begin, end) of group 0, 1, …; kUnset where a group took no part.
  // Valid until the thread's next match of any expression.
  static constexpr size_t kUnset = ~size_t{0};
  struct Match {
    enum class Result : uint8_t {
      matched,
      none,
      failed,  // the match limit was reached: `error` has PCRE's number
    };
    Result result = Result::none;
    int error = 0;
    std::span<const size_t> offsets;

    explicit operator bool() const { return result == Result::matched; }
    size_t groups() const { return offsets.size() / 2; }
    // The text of a group; empty when it took no part or does not exist.
    std::string_view group(std::string_view subject, size_t index) const {
      if (index >= groups() || offsets[2 * index] == kUnset) return {};
      return subject.substr(offsets[2 * index], offsets[2 * index + 1] - offsets[2 * index]);
    }
  };
  Match match(std::string_view subject) const;
  // What the log says of a failed match, in nginx's words.
  std::string failure_text(const Match& match, std::string_view subject) const;

  const std::string& pattern() const { return pattern_; }
  bool ignore_case() const { return ignore_case_; }
  uint32_t group_count() const { return group_count_; }  // without group 0
  const std::vector<Named>& names() const { return names_; }

 private:
  Regex() = default;
  void read_names();

  std::string pattern_;
  RegexHint hint_;
  pcre2_real_code_8* code_ = nullptr;
  std::vector<Named> names_;
  uint32_t group_count_ = 0;
  bool ignore_case_ = false;
};

}  // namespace weir::conf
