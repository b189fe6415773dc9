#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <span>

// The address sanitizer sees a use after free only when memory really goes back.
#if defined(__SANITIZE_ADDRESS__)
#define WEIR_POOLS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_POOLS 0
#else
#define WEIR_POOLS 1
#endif
#else
#define WEIR_POOLS 1
#endif

namespace weir {

// Pieces of memory of one size, kept for reuse. Meant as a constant-initialised thread_local: it
// has no destructor, so it may be used at any time of a thread's life; FreeListKeeper gives the
// memory back when the thread ends. A piece may come from one thread and be given back in another.
class FreeList {
 public:
  // Null when there is none; never fails.
  void* pop() {
    Piece* piece = first_;
    if (piece == nullptr) return nullptr;
    first_ = piece->next;
    --count_;
    return piece;
  }
  // False when the list is full or the thread is ending: the caller frees.
  bool push(void* memory, size_t limit) {
    if (!WEIR_POOLS || closed_ || count_ >= limit) return false;
    first_ = new (memory) Piece{first_};
    ++count_;
    return true;
  }
  size_t count() const { return count_; }
  void drain() {
    while (void* memory = pop()) std::free(memory);
  }
  // After this nothing is kept any more.
  void close() {
    closed_ = true;
    drain();
  }

 private:
  struct Piece {
    Piece* next;
  };
  Piece* first_ = nullptr;
  size_t count_ = 0;
  bool closed_ = false;
};

// Frees what some of a thread's lists keep, when they are drained and when the thread ends. A
// thread_local beside them; whoever finds a list empty calls arm().
class FreeListKeeper {
 public:
  explicit FreeListKeeper(std::span<FreeList> lists);
  ~FreeListKeeper();
  FreeListKeeper(const FreeListKeeper&) = delete;
  FreeListKeeper& operator=(const FreeListKeeper&) = delete;
  void arm() {}  // the first use makes it

 private:
  friend void drain_free_lists();
  std::span<FreeList> lists_;
  FreeListKeeper* next_;
  FreeListKeeper** link_;
};

// Frees what all lists of this thread keep.
void drain_free_lists();

// std::malloc that throws std::bad_alloc: the counterpart of FreeList::close.
inline void* allocate_piece(size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace weir
