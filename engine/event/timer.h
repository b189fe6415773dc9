#pragma once

#include <cstdint>

namespace weir {

class Loop;

// One deadline, exact to the millisecond. Arming is O(1) and cheap to repeat: a later deadline only
// stores it (the wheel relinks lazily when the old slot comes due), cancelling only clears it.
// Fires once, from the loop's top level; the callback may destroy the Timer or arm it again. Not
// copyable, not movable; destroying it cancels it.
class Timer {
 public:
  using Fire = void (*)(void* owner);
  Timer(Fire fire, void* owner) : fire_(fire), owner_(owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { unlink(); }

  // 0 milliseconds: in the next round.
  void arm(Loop& loop, uint64_t milliseconds);
  void cancel() { deadline_ = 0; }  // stays linked; the wheel drops it when its slot comes due
  bool armed() const { return deadline_ != 0; }
  uint64_t deadline() const { return deadline_; }  // in Loop::now() time

 private:
  friend class TimerWheel;
  void unlink() {
    if (link_ == nullptr) return;
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
    link_ = nullptr;
  }
  Fire fire_;
  void* owner_;
  uint64_t deadline_ = 0;
  uint64_t linked_at_ = 0;  // when its slot comes due
  Timer* next_ = nullptr;
  Timer** link_ = nullptr;  // what points here; null: not linked
};

}  // namespace weir
