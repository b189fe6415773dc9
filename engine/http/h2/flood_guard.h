#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::http::h2 {

// What a peer may do that costs more than it brings: each kind has a bucket of tokens that fills
// with time (docs/limits.md).
class FloodGuard {
 public:
  enum class Kind : uint8_t {
    reset,     // RST_STREAM, and streams that we had to reset or refuse
    settings,  // SETTINGS
    ping,      // PING
    empty,     // DATA, HEADERS and CONTINUATION without a byte that do not end anything
    window,    // WINDOW_UPDATE; each DATA frame sent gives one back
    other,     // PRIORITY and frames of unknown types
  };
  static constexpr size_t kKinds = 6;

  // False: too many.
  bool take(Kind kind, uint64_t now);
  void give_back(Kind kind);
  // Frames of which little is payload: 1 MB of them and seven eighths of what came since are too
  // much. False: too many.
  bool count(size_t frame_bytes, size_t payload_bytes);
  static const char* describe(Kind kind);

 private:
  struct Bucket {
    uint32_t used = 0;
    uint32_t filled_at = 0;  // in milliseconds; wraps
  };
  Bucket buckets_[kKinds];
  uint64_t total_ = 0;
  uint64_t payload_ = 0;
};

}  // namespace weir::http::h2
