#include "engine/base/generation_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "engine/base/free_list.h"

namespace weir {
namespace {

constexpr size_t kRange = size_t{4} << 30;  // of addresses
constexpr size_t kSpan = size_t{32} << 10;
constexpr size_t kStep = size_t{1} << 20;  // made usable at a time
constexpr size_t kSpans = kRange / kSpan;
constexpr size_t kLargest = 4096;

// Pieces in steps of an eighth of their size or less.
constexpr size_t class_of(size_t size) {
  if (size <= 512) return size == 0 ? 0 : (size - 1) / 16;
  const auto power = static_cast<size_t>(std::bit_width(size - 1)) - 1;  // 9 to 11
  return 32 + (power - 9) * 8 + (((size - 1) >> (power - 3)) & 7);
}
constexpr size_t size_of(size_t index) {
  if (index < 32) return (index + 1) * 16;
  const size_t power = 9 + (index - 32) / 8;
  return (size_t{1} << power) + ((index & 7) + 1) * (size_t{1} << (power - 3));
}
constexpr size_t kClasses = class_of(kLargest) + 1;
static_assert(size_of(class_of(1)) == 16 && size_of(class_of(512)) == 512);
static_assert(size_of(class_of(513)) == 576 && size_of(class_of(kLargest)) == kLargest);

// At the beginning of each span. While a heap makes pieces in it, it counts them itself; what other
// threads free, and everything later, is taken from `live`.
struct alignas(64) Span {
  std::atomic<int64_t> live;
  std::atomic<GenerationHeap::State*> owner;
  Span* next = nullptr;
  int64_t made = 0;
  uint32_t size = 0;
};
// Of a span that is being filled: more than it can have pieces.
constexpr int64_t kOpen = int64_t{1} << 32;

// The range, and which spans of it are taken. Lives in memory that is zero from the start: it is
// used before and after all other objects.
class Spans {
 public:
  bool has(const void* memory) const {
    return reinterpret_cast<uintptr_t>(memory) - base_.load(std::memory_order_relaxed) < kRange;
  }
  Span* of(void* memory) const {
    return reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(memory) & ~(kSpan - 1));
  }

  Span* take() {
    std::lock_guard lock(mutex_);
    if (!reserved_ && !reserve()) return nullptr;
    for (size_t word = first_free_; word < taken_.size(); ++word) {
      if (taken_[word] == ~uint64_t{0}) continue;
      first_free_ = word;
      const auto bit = static_cast<size_t>(std::countr_one(taken_[word]));
      const size_t index = word * 64 + bit;
      while ((index + 1) * kSpan > usable_) {
        if (!extend()) return nullptr;
      }
      taken_[word] |= uint64_t{1} << bit;
      ++count_;
      return reinterpret_cast<Span*>(base_.load(std::memory_order_relaxed) + index * kSpan);
    }
    return nullptr;
  }

  void give_back(Span* span) {
    const size_t index =
        (reinterpret_cast<uintptr_t>(span) - base_.load(std::memory_order_relaxed)) / kSpan;
    ::madvise(span, kSpan, MADV_DONTNEED);
    std::lock_guard lock(mutex_);
    taken_[index / 64] &= ~(uint64_t{1} << index % 64);
    first_free_ = std::min(first_free_, index / 64);
    --count_;
  }

  size_t count() {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  bool reserve() {
    if (refused_) return false;
    void* range = ::mmap(nullptr, kRange + kSpan, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    refused_ = range == MAP_FAILED;
    if (refused_) return false;
    ::madvise(range, kRange + kSpan, MADV_NOHUGEPAGE);
    const uintptr_t first = (reinterpret_cast<uintptr_t>(range) + kSpan - 1) & ~(kSpan - 1);
    base_.store(first, std::memory_order_relaxed);
    reserved_ = true;
    return true;
  }
  bool extend() {
    if (usable_ == kRange) return false;
    auto* from = reinterpret_cast<char*>(base_.load(std::memory_order_relaxed)) + usable_;
    if (::mprotect(from, kStep, PROT_READ | PROT_WRITE) != 0) return false;
    usable_ += kStep;
    return true;
  }

  // No piece of memory is there.
  static constexpr uintptr_t kNowhere = uintptr_t{1} << 63;

  std::mutex mutex_;
  std::atomic<uintptr_t> base_ = kNowhere;
  bool reserved_ = false;
  bool refused_ = false;
  size_t usable_ = 0;      // bytes from the base on
  size_t first_free_ = 0;  // words before it are full
  size_t count_ = 0;
  std::array<uint64_t, kSpans / 64> taken_{};
};

constinit Spans spans;

}  // namespace

struct GenerationHeap::State {
  struct Piece {
    Piece* next;
  };
  struct Class {
    Piece* free = nullptr;
    char* next = nullptr;
    char* end = nullptr;
  };

  void* allocate(size_t size) {
    const size_t index = class_of(size);
    Class& from = classes[index];
    if (Piece* piece = from.free) {
      from.free = piece->next;
      ++spans.of(piece)->made;
      return piece;
    }
    if (from.next == from.end && !open_span(from, size_of(index))) return std::malloc(size);
    void* memory = from.next;
    from.next += size_of(index);
    ++spans.of(memory)->made;
    return memory;
  }

  void free(Span& span, void* memory) {
    --span.made;
    Class& to = classes[class_of(span.size)];
    to.free = new (memory) Piece{to.free};
  }

  bool open_span(Class& from, size_t size) {
    Span* memory = spans.take();
    if (!memory) return false;
    first = new (memory) Span{kOpen, this, first, 0, static_cast<uint32_t>(size)};
    from.next = reinterpret_cast<char*>(first + 1);
    from.end = from.next + (kSpan - sizeof(Span)) / size * size;
    return true;
  }

  void close() {
    while (first) {
      Span* span = first;
      first = span->next;
      span->owner.store(nullptr, std::memory_order_relaxed);
      const int64_t less = kOpen - span->made;
      if (span->live.fetch_sub(less, std::memory_order_acq_rel) == less) spans.give_back(span);
    }
  }

  std::array<Class, kClasses> classes{};
  Span* first = nullptr;
};

namespace {

constinit thread_local GenerationHeap::State* current = nullptr;

// (Not inlined: nearly all memory is malloc's, and its way should not save registers for this.)
[[gnu::noinline]] void* allocate_in_span(size_t size) {
  return current->allocate(size);
}

[[gnu::noinline]] void free_in_span(void* memory) {
  Span* span = spans.of(memory);
  // Another thread's heap never is this one's: what is read is good enough for that.
  GenerationHeap::State* owner = span->owner.load(std::memory_order_relaxed);
  if (owner != nullptr && owner == current) {
    owner->free(*span, memory);
  } else if (span->live.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    spans.give_back(span);
  }
}

}  // namespace

GenerationHeap::GenerationHeap() {
#if WEIR_POOLS
  outer_ = current;
  current = nullptr;
  state_ = new (std::nothrow) State;
  current = state_;
#endif
}

GenerationHeap::~GenerationHeap() {
#if WEIR_POOLS
  if (state_) state_->close();
  current = nullptr;
  delete state_;
  current = outer_;
#endif
}

void* heap_allocate(size_t size) {
  if (current == nullptr || size > kLargest) return std::malloc(size);
  return allocate_in_span(size);
}

void heap_free(void* memory) {
  if (spans.has(memory)) {
    free_in_span(memory);
  } else {
    std::free(memory);
  }
}

void* heap_resize(void* memory, size_t size) {
  if (!spans.has(memory)) return std::realloc(memory, size);
  const size_t before = spans.of(memory)->size;
  if (size <= before && size > before / 2) return memory;
  void* other = heap_allocate(size);
  if (!other) return nullptr;
  std::memcpy(other, memory, std::min(before, size));
  free_in_span(memory);
  return other;
}

size_t generation_heap_bytes() {
  return spans.count() * kSpan;
}

}  // namespace weir

#if WEIR_POOLS

// The aligned forms stay the library's: they pair up with free() among themselves. The others
// (arrays, nothrow) end in these.
void* operator new(size_t size) {
  while (true) {
    if (void* memory = weir::heap_allocate(size > 0 ? size : 1)) return memory;
    const std::new_handler handler = std::get_new_handler();
    if (!handler) throw std::bad_alloc();
    handler();
  }
}

void operator delete(void* memory) noexcept {
  weir::heap_free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  weir::heap_free(memory);
}

#endif
