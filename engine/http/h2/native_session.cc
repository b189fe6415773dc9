#include "engine/http/h2/native_session.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "engine/base/free_list.h"

namespace weir::http::h2 {
namespace {

constexpr size_t kFrameBufferFrom = 16 * 1024;
constexpr size_t kFrameBufferSize = 16 * 1024 + 64;
thread_local char frame_buffer[kFrameBufferSize];

bool is_frame_buffer(const void* memory) {
  return memory == frame_buffer;
}

constexpr size_t kZeroedHere = 512;  // above, calloc may know that memory is zero

// Ahead of each piece of a slot: its size.
constexpr size_t kAhead = alignof(std::max_align_t);

size_t& size_of(void* piece) {
  return *reinterpret_cast<size_t*>(static_cast<char*>(piece) - kAhead);
}

// What streams, frames and table entries take and give back, kept for reuse by this thread: a list
// for each size that glibc's malloc has. A piece's size is asked of malloc, so that those that
// stay, in the tables of idle connections, are no larger for it.
class Pieces {
 public:
  static void* take(size_t size) {
    if (size > room(kClasses - 1)) return std::malloc(size);
    const size_t index = size <= room(1) ? 1 : (size - kOdd + kStep - 1) / kStep;
    if (void* piece = lists_[index].pop()) return piece;
    keeper_.arm();
    return std::malloc(room(index));
  }
  static void give_back(void* piece) {
    const size_t size = ::malloc_usable_size(piece);
    const size_t index = size < room(1) ? 0 : (size - kOdd) / kStep;
    if (index == 0 || index >= kClasses || !lists_[index].push(piece, kKept)) std::free(piece);
  }

 private:
  static constexpr size_t kStep = 16;
  static constexpr size_t kOdd = 8;
  static constexpr size_t kClasses = 32;
  static constexpr size_t kKept = 256;
  static constexpr size_t room(size_t index) { return index * kStep + kOdd; }

  static thread_local std::array<FreeList, kClasses> lists_;
  static thread_local FreeListKeeper keeper_;
};

constinit thread_local std::array<FreeList, Pieces::kClasses> Pieces::lists_{};
thread_local FreeListKeeper Pieces::keeper_(Pieces::lists_);

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
    return piece ? piece : Pieces::take(size);
  }

  static void give_back(void* memory, void* self) {
    if (memory == nullptr) return;
    if (is_frame_buffer(memory)) {
      of(self).has_frame_buffer_ = false;
    } else if (is_in_slot(memory)) {
      if (of(self).session_) std::memset(memory, 0, size_of(memory));  // it folds well
    } else {
      Pieces::give_back(memory);
    }
  }

  static void* take_zeroed(size_t count, size_t size, void* self) {
    void* piece =
        size == 0 || count <= kSlotSize / size ? piece_of_slot(of(self), count * size) : nullptr;
    if (!piece && size != 0 && count > SIZE_MAX / size) return nullptr;
    if (!piece) piece = count * size <= kZeroedHere ? Pieces::take(count * size) : nullptr;
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
