#include "engine/http/h2/frame_tracker.h"

#include <algorithm>
#include <cstring>

namespace weir::http::h2 {

bool FrameTracker::next(std::string_view& bytes, FrameHead& head) {
  const size_t skipped = std::min<size_t>(left_, bytes.size());
  bytes.remove_prefix(skipped);
  left_ -= static_cast<uint32_t>(skipped);
  if (bytes.empty()) return false;
  const size_t taken = std::min(sizeof partial_ - have_, bytes.size());
  std::memcpy(partial_ + have_, bytes.data(), taken);
  have_ = static_cast<uint8_t>(have_ + taken);
  bytes.remove_prefix(taken);
  if (have_ < sizeof partial_) return false;
  have_ = 0;
  head.length = uint32_t{partial_[0]} << 16 | uint32_t{partial_[1]} << 8 | partial_[2];
  head.type = static_cast<FrameType>(partial_[3]);
  head.flags = partial_[4];
  left_ = head.length;
  if (head.type == FrameType::headers || head.type == FrameType::continuation) {
    in_head_ = !head.has(kEndHeaders);
  }
  return true;
}

}  // namespace weir::http::h2
