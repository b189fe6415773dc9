#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/template.h"
#include "engine/zone/table.h"

// The leaky buckets of limit_req. Amounts are thousandths of a request, as nginx counts them.
namespace weir::http {

struct Bucket : zone::Entry {
  uint32_t held = 0;  // checks under way that will add to it
  uint64_t last = 0;  // milliseconds, of a clock that all processes share
  uint64_t excess = 0;
};
struct Buckets {
  zone::Table<Bucket> table;
  void start(zone::Lock& lock) { table.start(lock); }
};

struct RateZone {
  std::shared_ptr<zone::Zone> zone;
  conf::Template key;
  uint64_t rate = 0;  // thousandths of a request in a second
  bool declared = false;
};

struct RateLimit {
  std::shared_ptr<const RateZone> zone;
  uint64_t burst = 0;
  uint64_t delay = 0;  // what is above it waits; kNoDelay: nothing waits
  static constexpr uint64_t kNoDelay = ~uint64_t{0};
};

// What one request comes to under all limits of its location.
struct RateVerdict {
  enum class Kind : uint8_t { none, pass, delay, reject, no_memory } kind = Kind::none;
  const RateLimit* limit = nullptr;  // the one that delays, rejects or has no memory
  uint64_t excess = 0;
  uint64_t delay = 0;  // milliseconds
};

struct RateKey {
  const RateLimit* limit;
  std::string_view key;  // not empty
};

// Counts a request by all `keys`, in order; a rejected one by none of them. `last_counts`: no limit
// follows the last key (one with an empty key may).
RateVerdict count_request(const std::vector<RateKey>& keys, bool last_counts, uint64_t now);

}  // namespace weir::http
