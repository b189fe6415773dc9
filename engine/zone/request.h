#pragma once

#include <cstdint>
#include <string>

namespace weir::zone {

// A zone as a configuration asks for it. Two generations that ask for the same (all of it equal)
// share one mapping, with its contents.
struct ZoneRequest {
  std::string name;
  uint64_t size = 0;  // bytes
  // Whose it is, with the version of what it keeps there: "limit_req 1". Changed when the structs
  // in the zone change.
  std::string kind;
  // What its contents depend on besides (the key of a limit): another key, a new zone.
  std::string key;
  bool operator==(const ZoneRequest&) const = default;
};

}  // namespace weir::zone
