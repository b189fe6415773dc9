#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace weir::conf {

// Bump memory for the tree: objects are never freed one by one, destructors do not run. Grows in
// chunks that double up to 256 KB, so that a small file costs little and a large one few calls.
class TreeArena {
 public:
  TreeArena() = default;
  TreeArena(TreeArena&&) = default;
  TreeArena& operator=(TreeArena&&) = default;

  void* allocate(size_t size, size_t alignment) {
    size_t start = (used_ + alignment - 1) & ~(alignment - 1);
    if (chunks_.empty() || start + size > capacity_) {
      grow(size);
      start = 0;
    }
    used_ = start + size;
    return chunks_.back().get() + start;
  }

  template <class T>
  T* make() {
    static_assert(std::is_trivially_destructible_v<T>);
    return new (allocate(sizeof(T), alignof(T))) T();
  }

  template <class T>
  std::span<const T> copy(const T* from, size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (count == 0) return {};
    void* to = allocate(sizeof(T) * count, alignof(T));
    std::memcpy(to, static_cast<const void*>(from), sizeof(T) * count);
    return {static_cast<const T*>(to), count};
  }

  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    char* to = static_cast<char*>(allocate(text.size(), 1));
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
  }

 private:
  void grow(size_t size) {
    capacity_ = chunks_.empty() ? 4096 : std::min<size_t>(capacity_ * 2, 256 * 1024);
    if (capacity_ < size) capacity_ = size;
    chunks_.push_back(std::make_unique_for_overwrite<std::byte[]>(capacity_));
    used_ = 0;
  }

  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  size_t capacity_ = 0;
  size_t used_ = 0;
};

}  // namespace weir::conf
