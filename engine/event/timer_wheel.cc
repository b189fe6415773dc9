#include "engine/event/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace weir {

TimerWheel::~TimerWheel() {
  for (Timer* slot : fine_.slots) {
    while (slot != nullptr) {
      Timer* next = slot->next_;
      slot->link_ = nullptr;
      slot = next;
    }
  }
  for (Timer* slot : coarse_.slots) {
    while (slot != nullptr) {
      Timer* next = slot->next_;
      slot->link_ = nullptr;
      slot = next;
    }
  }
}

void TimerWheel::put(Timer*& slot, Timer& timer) {
  timer.next_ = slot;
  timer.link_ = &slot;
  if (slot != nullptr) slot->link_ = &timer.next_;
  slot = &timer;
}

template <size_t N>
void TimerWheel::Ring<N>::add(Timer& timer, uint64_t at) {
  size_t index = at % N;
  put(slots[index], timer);
  occupied[index / 64] |= uint64_t{1} << (index % 64);
}

template <size_t N>
uint64_t TimerWheel::Ring<N>::next(uint64_t from) {
  uint64_t at = from;
  while (at < from + N) {
    size_t index = at % N;
    uint64_t bits = occupied[index / 64] >> (index % 64);
    if (bits == 0) {
      at += 64 - index % 64;
      continue;
    }
    at += static_cast<unsigned>(std::countr_zero(bits));
    index = at % N;
    if (at >= from + N) break;
    if (slots[index] != nullptr) return at;
    occupied[index / 64] &= ~(uint64_t{1} << (index % 64));
  }
  return from + N;
}

void TimerWheel::arm(Timer& timer, uint64_t now, uint64_t milliseconds) {
  timer.deadline_ = std::max<uint64_t>(now + std::min<uint64_t>(milliseconds, kNever >> 1), 1);
  if (timer.link_ != nullptr) {
    if (timer.linked_at_ <= timer.deadline_) return;
    timer.unlink();
  }
  link(timer);
}

void TimerWheel::link(Timer& timer) {
  uint64_t deadline = std::max(timer.deadline_, time_ + 1);
  if (deadline - time_ < kFineReach) {
    timer.linked_at_ = deadline;
    fine_.add(timer, deadline);
    return;
  }
  uint64_t slot = std::min(deadline >> kCoarseShift, (time_ >> kCoarseShift) + kCoarseSlots - 1);
  timer.linked_at_ = slot << kCoarseShift;
  coarse_.add(timer, slot);
}

// Fires or relinks a slot's timers. A callback may destroy or arm any of them: the list hangs from
// a head of its own meanwhile, and each is off it before its callback runs.
void TimerWheel::settle(Timer*& slot, uint64_t now) {
  due_ = slot;
  if (due_ == nullptr) return;
  slot = nullptr;
  due_->link_ = &due_;
  while (due_ != nullptr) {
    Timer* timer = due_;
    timer->unlink();
    if (timer->deadline_ == 0) continue;
    if (timer->deadline_ > now) {
      link(*timer);
      continue;
    }
    timer->deadline_ = 0;
    timer->fire_(timer->owner_);
  }
}

void TimerWheel::advance(uint64_t now) {
  if (now <= time_) return;
  uint64_t from = time_;
  // First the time, so that what callbacks arm goes into slots that are still to come.
  time_ = now;
  uint64_t first = (from >> kCoarseShift) + 1;
  uint64_t last = std::min(now >> kCoarseShift, first + kCoarseSlots - 1);
  for (uint64_t at = coarse_.next(first); at <= last; at = coarse_.next(at + 1)) {
    settle(coarse_.slots[at % kCoarseSlots], now);
  }
  last = std::min(now, from + kFineSlots);
  for (uint64_t at = fine_.next(from + 1); at <= last; at = fine_.next(at + 1)) {
    settle(fine_.slots[at % kFineSlots], now);
  }
}

uint64_t TimerWheel::next_due() {
  uint64_t at = fine_.next(time_ + 1);
  uint64_t due = at > time_ + kFineSlots ? kNever : at;
  uint64_t first = (time_ >> kCoarseShift) + 1;
  at = coarse_.next(first);
  if (at < first + kCoarseSlots) due = std::min(due, at << kCoarseShift);
  return due;
}

}  // namespace weir
