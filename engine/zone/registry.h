#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "engine/zone/zone.h"

namespace weir::zone {

// The zones of the configuration under construction, in the order of their first mention. They go
// to Generation::zones at the end, and what the master has to make of them to Resources::zones.
class Registry final : public conf::CompilerState {
 public:
  // A zone is declared (`size` given) or used (size 0: it is, or will be, declared elsewhere).
  // `kind` as in ZoneRequest. Reports nginx's errors at `at` and returns null when the name is of
  // another kind or size. A zone that is declared by nobody is an error after reading.
  std::shared_ptr<Zone> declare(conf::Compiler& compiler, const conf::Statement& at,
                                std::string_view name, uint64_t size, std::string_view kind);
  // The name of the first zone without a size, or null.
  const std::string* first_without_size() const;
  // For whoever reads that error.
  std::string help_without_size(const std::string& name) const;
  const std::vector<std::shared_ptr<Zone>>& all() const { return zones_; }

 private:
  std::vector<std::shared_ptr<Zone>> zones_;
};

inline Registry& registry(conf::Compiler& compiler) {
  return compiler.state<Registry>();
}

// What nginx demands: eight pages.
inline constexpr uint64_t kSmallestZone = 8 * kPageSize;

// Reads `NAME:SIZE`, the value of a zone= parameter. Reports `invalid zone size "WORD"` and `zone
// "WORD" is too small`, WORD being the whole word. An empty name is the caller's to refuse.
struct NameAndSize {
  std::string_view name;
  uint64_t size = 0;
};
std::optional<NameAndSize> read_name_and_size(conf::Compiler& compiler, const conf::Statement& at,
                                              const conf::Word& word, std::string_view value);

}  // namespace weir::zone
