#pragma once

#include <cstdint>

namespace weir {

class Loop;

// One deadline. Arming is O(1) and cheap to repeat: a later deadline only stores it (the wheel
// relinks lazily when the old slot comes due). Delays under a second, and Precision::exact, use a
// heap instead. Not copyable, not movable; destroying it cancels it.
class Timer {
 public:
  using Fire = void (*)(void* owner);
  Timer(Fire fire, void* owner) : fire_(fire), owner_(owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer();

  void arm(Loop& loop, uint64_t milliseconds);
  void cancel() { deadline_ = 0; }  // stays linked; the wheel drops it when its slot comes due
  bool armed() const { return deadline_ != 0; }
  uint64_t deadline() const { return deadline_; }  // in Loop::now() time

 private:
  friend class TimerWheel;
  Fire fire_;
  void* owner_;
  uint64_t deadline_ = 0;
  uint64_t linked_at_ = 0;  // the slot's time, 0: not linked
  Timer* next_ = nullptr;
  Timer** link_ = nullptr;
};

}  // namespace weir
