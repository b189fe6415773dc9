#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/event/timer.h"

namespace weir {

// Two rings of lists: 1024 slots of one millisecond for what is due within a second, 512 slots of
// 128 milliseconds for the rest (what lies beyond is linked at the far end and moves on when it
// gets there). A slot of the coarse ring that comes due hands its timers to the fine one, so every
// deadline is exact, and a deadline that was put off meanwhile, the usual fate of a connection's
// timeout, costs one relink a slot and not one a request. Knows no clock: the time is handed in.
class TimerWheel {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;
  explicit TimerWheel(uint64_t now) : time_(now) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  ~TimerWheel();  // unlinks what is left

  void arm(Timer& timer, uint64_t now, uint64_t milliseconds);
  // Fires what is due at `now`, oldest slot first; not from inside a callback. What callbacks arm
  // fires in a later call.
  void advance(uint64_t now);
  // The time of the next slot that holds something, or kNever.
  uint64_t next_due();

 private:
  static constexpr size_t kFineSlots = 1024;
  static constexpr size_t kCoarseSlots = 512;
  static constexpr unsigned kCoarseShift = 7;
  static constexpr uint64_t kFineReach = 1000;

  template <size_t N>
  struct Ring {
    std::array<Timer*, N> slots{};
    std::array<uint64_t, N / 64> occupied{};  // a bit may be stale: unlinking does not clear it
    void add(Timer& timer, uint64_t at);
    // The first position in [from, from + N) that holds something; from + N when there is none.
    uint64_t next(uint64_t from);
  };
  static void put(Timer*& slot, Timer& timer);
  void link(Timer& timer);
  void settle(Timer*& slot, uint64_t now);

  Ring<kFineSlots> fine_;
  Ring<kCoarseSlots> coarse_;
  Timer* due_ = nullptr;  // the slot being settled
  uint64_t time_;         // all slots up to here are done
};

}  // namespace weir
