#pragma once

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

// Null: there is none (the range is used up, or could not be had).
void* take_slot();
// Not a folded one.
void free_slot(void* slot);
// Is this the beginning of a slot, or inside of one?
bool is_in_slot(const void* memory);

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
