#include "engine/http/h2/memory.h"

#include <cstdlib>
#include <cstring>

namespace weir::http::h2 {
namespace {

constexpr size_t kFrameBufferFrom = 16 * 1024;
constexpr size_t kFrameBufferSize = 16 * 1024 + 64;
thread_local char frame_buffer[kFrameBufferSize];

bool is_frame_buffer(const void* memory) {
  return memory == frame_buffer;
}

void* take(size_t size, void* self) {
  auto* memory = static_cast<SessionMemory*>(self);
  if (size >= kFrameBufferFrom && size <= kFrameBufferSize && !memory->has_frame_buffer) {
    memory->has_frame_buffer = true;
    return frame_buffer;
  }
  return std::malloc(size);
}

void give_back(void* memory, void* self) {
  if (is_frame_buffer(memory)) {
    static_cast<SessionMemory*>(self)->has_frame_buffer = false;
    return;
  }
  std::free(memory);
}

void* take_zeroed(size_t count, size_t size, void*) {
  return std::calloc(count, size);
}

void* resize(void* memory, size_t size, void* self) {
  if (memory == nullptr) return take(size, self);
  if (!is_frame_buffer(memory)) return std::realloc(memory, size);
  if (size <= kFrameBufferSize) return memory;
  void* larger = std::malloc(size);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, memory, kFrameBufferSize);
  give_back(memory, self);
  return larger;
}

}  // namespace

SessionMemory::SessionMemory() : functions{this, take, give_back, take_zeroed, resize} {}

}  // namespace weir::http::h2
