#include "engine/tls/native_connection.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "engine/base/generation_heap.h"
#include "engine/tls/native.h"

namespace weir::tls {
namespace {

// What SSL_new() may take first, and how much of a slot it is.
constexpr size_t kLeast = 4096;
struct Wish {
  void* slot = nullptr;
  size_t size = 0;  // what it became; 0: nothing was as large
};
thread_local Wish* wish = nullptr;

void* take(size_t size, const char*, int) {
  if (wish && wish->size == 0 && size >= kLeast && size <= kSlotSize) {
    wish->size = size;
    return wish->slot;
  }
  return size > 0 ? heap_allocate(size) : nullptr;
}

void give_back(void* memory, const char*, int) {
  if (is_in_slot(memory)) return;  // ~NativeConnection() has it
  heap_free(memory);
}

void* resize(void* memory, size_t size, const char* file, int line) {
  if (!memory) return take(size, file, line);
  if (!is_in_slot(memory)) {
    if (size > 0) return heap_resize(memory, size);
    heap_free(memory);
    return nullptr;
  }
  // No SSL is ever resized; were it, it would go on as any other memory.
  void* other = heap_allocate(size);
  if (other) std::memcpy(other, memory, std::min(size, kSlotSize));
  return other;
}

// Before the first allocation, or OpenSSL refuses.
std::atomic<bool> usable = CRYPTO_set_mem_functions(take, resize, give_back) == 1;

}  // namespace

NativeConnection::NativeConnection(ssl_ctx_st* context) {
  Wish mine{usable ? memory_.take() : nullptr};
  if (mine.slot) wish = &mine;
  native_ = SSL_new(context);
  wish = nullptr;
  if (!mine.slot) return;
  if (native_ && static_cast<void*>(native_) == mine.slot) {
    memory_.watch(mine.size);
  } else if (mine.size == 0 || !native_) {
    memory_.release();
  } else {
    // Not the SSL: whose it is nobody knows. It may keep that one.
    usable = false;
    memory_.abandon();
  }
}

NativeConnection::~NativeConnection() {
  if (native_) SSL_free(*this);
}

}  // namespace weir::tls
