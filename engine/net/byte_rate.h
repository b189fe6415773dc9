#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace weir::net {

// So many bytes a second of one direction, reckoned as nginx does: the seconds so far, the one
// under way included, allow their bytes, and after what was read there is a pause as long as it
// should have taken. Keeps no time of its own: who reads says how much has gone, and what the wall
// clock says (milliseconds; it may jump).
class ByteRate {
 public:
  // Not 0.
  ByteRate(uint64_t per_second, int64_t now) : per_second_(per_second), begun_(now / 1000) {}

  // Bytes that may be read now, after `gone`; 0: none, for wait().
  uint64_t allowance(uint64_t gone, int64_t now) const {
    const uint64_t allowed = allowed_until(now);
    return allowed > gone ? allowed - gone : 0;
  }
  // Milliseconds, where there is no allowance.
  uint64_t wait(uint64_t gone, int64_t now) const {
    return milliseconds_of(gone - allowed_until(now)) + 1;
  }
  // Milliseconds, after `bytes` have been read.
  uint64_t pause(uint64_t bytes) const { return milliseconds_of(bytes); }

 private:
  static constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  uint64_t allowed_until(int64_t now) const {
    const auto seconds = static_cast<uint64_t>(std::max<int64_t>(0, now / 1000 - begun_)) + 1;
    return per_second_ > kMost / seconds ? kMost : per_second_ * seconds;
  }
  uint64_t milliseconds_of(uint64_t bytes) const {
    return std::min(bytes, kMost / 1000) * 1000 / per_second_;
  }

  uint64_t per_second_;
  int64_t begun_;  // seconds
};

}  // namespace weir::net
