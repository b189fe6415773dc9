#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace weir {

// Memory of a foreign library's object that cannot move, but can be put away: a slot keeps its
// address, and folded it has no pages behind it, only a copy of its content in as little room as
// that takes (much of such objects is zero). Nobody may touch a folded slot; in builds for
// debugging that is a fault.
//
// Slots are taken from one range of addresses of the process, in any thread. Each has kSlotSize
// bytes of which only what is touched costs memory; not zeroed.
inline constexpr size_t kSlotSize = 16 * 1024;
inline constexpr size_t kSlotRange = size_t{4} << 30;  // of addresses; a quarter of a million slots
// Where the range begins; 0 before the first slot was asked for.
extern constinit std::atomic<uintptr_t> slot_range;

// Null: there is none (the range is used up, or could not be had).
void* take_slot();
// Not a folded one.
void free_slot(void* slot);
// Is this the beginning of a slot, or inside of one? Asked for each piece that a library frees.
inline bool is_in_slot(const void* memory) {
  const uintptr_t first = slot_range.load(std::memory_order_relaxed);
  return first != 0 && reinterpret_cast<uintptr_t>(memory) - first < kSlotRange;
}

// A slot's content, folded.
class FoldedSlot {
 public:
  // Puts the first `size` bytes away; the slot has no content any more. False: it would not save
  // anything, and nothing was done.
  bool fold(void* slot, size_t size);
  // Gives the slot its content back, and holds nothing.
  void unfold(void* slot);
  // Before free_slot(): without its content.
  void drop(void* slot);
  bool holds() const { return content_ != nullptr; }

 private:
  struct Free {
    void operator()(uint64_t* content) const { std::free(content); }
  };
  void forget();
  // A bit for each word of the slot, then the words that are not zero.
  std::unique_ptr<uint64_t[], Free> content_;
  uint32_t words_ = 0;   // of the slot
  uint32_t length_ = 0;  // of content_, in words
};

}  // namespace weir
