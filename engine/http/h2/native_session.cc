#include "engine/http/h2/native_session.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace weir::http::h2 {
namespace {

constexpr size_t kFrameBufferFrom = 16 * 1024;
constexpr size_t kFrameBufferSize = 16 * 1024 + 64;
thread_local char frame_buffer[kFrameBufferSize];

bool is_frame_buffer(const void* memory) {
  return memory == frame_buffer;
}

// Ahead of each piece of a slot: its size.
constexpr size_t kAhead = alignof(std::max_align_t);

size_t& size_of(void* piece) {
  return *reinterpret_cast<size_t*>(static_cast<char*>(piece) - kAhead);
}

}  // namespace

// nghttp2_mem.
struct Allocator {
  static NativeSession& of(void* self) { return *static_cast<NativeSession*>(self); }

  static void* piece_of_slot(NativeSession& session, size_t size) {
    if (!session.making_ || !session.slot_.slot()) return nullptr;
    const size_t whole = (size + 2 * kAhead - 1) / kAhead * kAhead;
    if (size > kSlotSize || whole > kSlotSize - session.used_) return nullptr;
    char* piece = static_cast<char*>(session.slot_.slot()) + session.used_ + kAhead;
    session.used_ += whole;
    size_of(piece) = size;
    return piece;
  }

  static void* take(size_t size, void* self) {
    NativeSession& session = of(self);
    if (size >= kFrameBufferFrom && size <= kFrameBufferSize && !session.has_frame_buffer_) {
      session.has_frame_buffer_ = true;
      return frame_buffer;
    }
    void* piece = piece_of_slot(session, size);
    return piece ? piece : std::malloc(size);
  }

  static void give_back(void* memory, void* self) {
    if (is_frame_buffer(memory)) {
      of(self).has_frame_buffer_ = false;
    } else if (is_in_slot(memory)) {
      if (of(self).session_) std::memset(memory, 0, size_of(memory));  // it folds well
    } else {
      std::free(memory);
    }
  }

  static void* take_zeroed(size_t count, size_t size, void* self) {
    void* piece =
        size == 0 || count <= kSlotSize / size ? piece_of_slot(of(self), count * size) : nullptr;
    if (!piece) return std::calloc(count, size);
    return std::memset(piece, 0, count * size);
  }

  static void* resize(void* memory, size_t size, void* self) {
    if (memory == nullptr) return take(size, self);
    const bool shared = is_frame_buffer(memory);
    if (!shared && !is_in_slot(memory)) return std::realloc(memory, size);
    const size_t before = shared ? kFrameBufferSize : size_of(memory);
    if (size <= before) return memory;
    void* larger = std::malloc(size);
    if (larger == nullptr) return nullptr;
    std::memcpy(larger, memory, before);
    give_back(memory, self);
    return larger;
  }
};

NativeSession::NativeSession()
    : functions_{this, Allocator::take, Allocator::give_back, Allocator::take_zeroed,
                 Allocator::resize} {}

NativeSession::~NativeSession() {
  slot_.use();
  nghttp2_session_del(std::exchange(session_, nullptr));
}

void NativeSession::open(bool server, const nghttp2_session_callbacks* callbacks, void* self,
                         const nghttp2_option* options) {
  slot_.take();
  making_ = true;
  if (server) {
    nghttp2_session_server_new3(&session_, callbacks, self, options, &functions_);
  } else {
    nghttp2_session_client_new3(&session_, callbacks, self, options, &functions_);
  }
  making_ = false;
  slot_.watch(used_);
}

}  // namespace weir::http::h2
