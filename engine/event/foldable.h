#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/slot.h"
#include "engine/event/timer.h"

namespace weir {

class FoldWatch;

// A slot that is folded when nobody has used it for a second or two, by the thread's loop and from
// its top level; one that was soon wanted back is left alone for longer the next time. Who owns the
// object in the slot calls use() before each call into the library that touches it; between two
// uses it may be folded at any time that the loop runs. Where the thread has no loop nothing is
// folded. Used in one thread.
class Foldable {
 public:
  Foldable() = default;
  ~Foldable() { release(); }
  Foldable(const Foldable&) = delete;
  Foldable& operator=(const Foldable&) = delete;

  // Takes a slot; null: there is none.
  void* take();
  // Its first `size` bytes are folded from now on when they are idle.
  void watch(size_t size);
  // Gives the slot back; what is in it is dropped.
  void release();
  // Leaves the slot, which is not watched, to whoever uses it.
  void abandon() { slot_ = nullptr; }
  void use() {
    used_ = true;
    if (folded_.holds()) unfold();
  }
  void* slot() const { return slot_; }
  bool is_folded() const { return folded_.holds(); }

 private:
  friend class FoldWatch;
  void unfold();
  void learn(uint32_t seconds);
  void link(Foldable*& list);
  void unlink();

  void* slot_ = nullptr;
  FoldedSlot folded_;
  uint32_t size_ = 0;
  uint32_t folded_at_ = 0;  // in seconds
  bool used_ = false;
  uint8_t idle_passes_ = 0;
  uint8_t patience_ = 1;  // passes that it may be idle
  Foldable* next_ = nullptr;
  Foldable** link_ = nullptr;  // what points here; null: not watched
};

// Folds what is idle: part of a Loop, of whose thread it is.
class FoldWatch {
 public:
  explicit FoldWatch(Loop& loop);
  ~FoldWatch();  // what it watched stays as it is
  FoldWatch(const FoldWatch&) = delete;
  FoldWatch& operator=(const FoldWatch&) = delete;
  // The thread's; null: its thread has no loop.
  static FoldWatch* of_thread();
  void add(Foldable& foldable);
  // Looks at all once, as each second does (tests). How many were folded.
  size_t pass();
  // Folds all that can be (tests). How many.
  size_t fold_all();

 private:
  friend class Foldable;
  static void fire(void* self);
  size_t look(size_t most);
  bool judge(Foldable& each);
  bool fold(Foldable& each);
  uint32_t seconds() const;

  Loop& loop_;
  Timer timer_;
  Foldable* waiting_ = nullptr;  // to be looked at in this pass
  Foldable* seen_ = nullptr;     // and in the next
  FoldWatch* before_;
};

}  // namespace weir
