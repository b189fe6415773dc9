#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::http::h2 {

enum class FrameType : uint8_t {
  data = 0,
  headers = 1,
  priority = 2,
  rst_stream = 3,
  settings = 4,
  push_promise = 5,
  ping = 6,
  goaway = 7,
  window_update = 8,
  continuation = 9,
};
inline constexpr uint8_t kEndStream = 0x1;
inline constexpr uint8_t kAck = 0x1;
inline constexpr uint8_t kEndHeaders = 0x4;
inline constexpr uint8_t kPadded = 0x8;

struct FrameHead {
  uint32_t length = 0;
  FrameType type = FrameType::data;
  uint8_t flags = 0;
  bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Follows a byte stream from frame to frame: what nghttp2 does not tell, and needs to be known
// before it works on it. `skip` bytes (the preface) come before the first frame.
class FrameTracker {
 public:
  explicit FrameTracker(size_t skip) : left_(static_cast<uint32_t>(skip)) {}

  // Moves on to the end of the next frame head in `bytes` or to their end. True: `head` is one.
  bool next(std::string_view& bytes, FrameHead& head);
  // Between two frames, and between two messages' heads.
  bool at_boundary() const { return left_ == 0 && have_ == 0 && !in_head_; }

 private:
  uint32_t left_;     // of the frame's payload
  uint8_t have_ = 0;  // bytes of a frame head that is not complete
  bool in_head_ = false;
  unsigned char partial_[9];
};

}  // namespace weir::http::h2
