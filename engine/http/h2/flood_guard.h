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
    window,    // WINDOW_UPDATE
    other,     // PRIORITY and frames of unknown types
  };
  static constexpr size_t kKinds = 6;

  // False: too many.
  bool take(Kind kind, uint64_t now);
  // A DATA frame goes out: who receives it opens windows for it (two, for each 4 KB that it reads),
  // and may measure the way by a PING.
  void sent_data(size_t bytes);
  // A stream came to its end: who sees most of its requests through may cancel others.
  void finished_stream() { give(Kind::reset, 1, kMostResetCredit); }
  // Frames of which little is payload: 1 MB of them and seven eighths of what came since are too
  // much; DATA sent counts as payload. False: too many.
  bool count(size_t frame_bytes, size_t payload_bytes);
  static const char* describe(Kind kind);

 private:
  struct Bucket {
    uint32_t used = 0;
    uint32_t credit = 0;     // taken before the bucket's own
    uint32_t filled_at = 0;  // in milliseconds; wraps
  };
  // Windows of 128 MB may be under way.
  static constexpr size_t kMostCredit = 65536;
  static constexpr size_t kMostResetCredit = 1000;
  void give(Kind kind, size_t count, size_t most = kMostCredit);

  Bucket buckets_[kKinds];
  uint64_t total_ = 0;
  uint64_t payload_ = 0;
};

}  // namespace weir::http::h2
