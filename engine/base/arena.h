#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace weir {

// Memory that is freed all at once: header text, small objects of one request. Blocks come from a
// per-worker free list (block size 2 KB; larger requests get their own), so a request costs no
// malloc in the steady state. Objects with destructors are destroyed in reverse order of making.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { reset(); }

  // Never null; size 0 gives a valid pointer. Throws std::bad_alloc only.
  void* allocate(size_t size, size_t alignment = alignof(std::max_align_t)) {
    auto at = (reinterpret_cast<uintptr_t>(next_) + alignment - 1) & ~(alignment - 1);
    if (next_ == nullptr || at + size > reinterpret_cast<uintptr_t>(end_)) {
      return allocate_slow(size, alignment);
    }
    next_ = reinterpret_cast<char*>(at + size);
    return reinterpret_cast<void*>(at);
  }
  char* text(size_t size) { return static_cast<char*>(allocate(size, 1)); }
  std::string_view copy(std::string_view value) {
    char* to = text(value.size());
    if (!value.empty()) std::memcpy(to, value.data(), value.size());
    return {to, value.size()};
  }
  // Grows the last allocation in place where it can, else moves it. For text built in one pass.
  char* grow(char* at, size_t old_size, size_t new_size);

  template <class T, class... Args>
  T* make(Args&&... args) {
    T* object = new (allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
    if constexpr (!std::is_trivially_destructible_v<T>) {
      on_reset(object, [](void* p) { static_cast<T*>(p)->~T(); });
    }
    return object;
  }
  // Runs at reset(), newest first.
  void on_reset(void* object, void (*cleanup)(void*));
  void reset();
  size_t bytes_held() const { return held_; }

 private:
  struct Block;
  struct Cleanup;
  void* allocate_slow(size_t size, size_t alignment);

  char* next_ = nullptr;
  char* end_ = nullptr;
  Block* blocks_ = nullptr;
  Cleanup* cleanups_ = nullptr;
  size_t held_ = 0;
};

// Text of unknown length built in one pass in an arena.
class ArenaText {
 public:
  explicit ArenaText(Arena& arena, size_t expected = 64)
      : arena_(arena), data_(arena.text(expected)), capacity_(expected) {}
  void append(std::string_view value) {
    if (size_ + value.size() > capacity_) grow_to(size_ + value.size());
    if (!value.empty()) std::memcpy(data_ + size_, value.data(), value.size());
    size_ += value.size();
  }
  void push_back(char value) { append({&value, 1}); }
  std::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }

 private:
  void grow_to(size_t needed) {
    size_t capacity = capacity_ * 2 > needed ? capacity_ * 2 : needed;
    data_ = arena_.grow(data_, capacity_, capacity);
    capacity_ = capacity;
  }
  Arena& arena_;
  char* data_;
  size_t size_ = 0;
  size_t capacity_;
};

}  // namespace weir
