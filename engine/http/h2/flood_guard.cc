#include "engine/http/h2/flood_guard.h"

#include <algorithm>

namespace weir::http::h2 {
namespace {

struct Rate {
  uint32_t burst;
  uint32_t per_second;
  const char* text;
};

constexpr Rate kRates[FloodGuard::kKinds] = {
    {200, 20, "http2 flood detected: too many stream resets"},
    {50, 5, "http2 flood detected: too many SETTINGS frames"},
    {1000, 100, "http2 flood detected: too many PING frames"},
    {100, 50, "http2 flood detected: too many empty frames"},
    {2000, 1000, "http2 flood detected: too many WINDOW_UPDATE frames"},
    {1000, 200, "http2 flood detected: too many PRIORITY or unknown frames"},
};

}  // namespace

bool FloodGuard::take(Kind kind, uint64_t now) {
  Bucket& bucket = buckets_[static_cast<size_t>(kind)];
  const Rate& rate = kRates[static_cast<size_t>(kind)];
  if (bucket.credit > 0) {
    --bucket.credit;
    return true;
  }
  auto time = static_cast<uint32_t>(now);
  if (bucket.used > 0) {
    const uint64_t filled = uint64_t{time - bucket.filled_at} * rate.per_second / 1000;
    if (filled > 0) {
      bucket.used -= static_cast<uint32_t>(std::min<uint64_t>(filled, bucket.used));
      bucket.filled_at = time;
    }
  } else {
    bucket.filled_at = time;
  }
  return ++bucket.used <= rate.burst;
}

void FloodGuard::give(Kind kind, size_t count, size_t most) {
  Bucket& bucket = buckets_[static_cast<size_t>(kind)];
  bucket.credit = static_cast<uint32_t>(std::min<size_t>(bucket.credit + count, most));
}

void FloodGuard::sent_data(size_t bytes) {
  payload_ += bytes;
  give(Kind::window, 2 + bytes / 2048);
  give(Kind::ping, 1);
}

bool FloodGuard::count(size_t frame_bytes, size_t payload_bytes) {
  total_ += frame_bytes;
  payload_ += payload_bytes;
  return total_ / 8 <= payload_ + 1024 * 1024;
}

const char* FloodGuard::describe(Kind kind) {
  return kRates[static_cast<size_t>(kind)].text;
}

}  // namespace weir::http::h2
