#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::stream {

// Memory that lives as long as a session, in pieces that grow: a session that keeps little costs
// little (an Arena's blocks are for requests, which are short). Objects are destroyed in reverse
// order.
class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { reset(); }

  // Never null; throws std::bad_alloc only.
  char* allocate(size_t size, size_t alignment = alignof(std::max_align_t));
  std::string_view copy(std::string_view text);
  // An object made in this memory, found again by `key`.
  void* keep(const void* key, void* object, void (*destroy)(void*));
  void* find(const void* key) const;
  void reset();

 private:
  struct Piece {
    Piece* next;
    size_t size;
  };
  struct Kept {
    const void* key;
    void* object;
    void (*destroy)(void*);
    Kept* next;
  };
  Piece* pieces_ = nullptr;
  Kept* kept_ = nullptr;
  char* next_ = nullptr;
  char* end_ = nullptr;
};

}  // namespace weir::stream
