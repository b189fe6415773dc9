#pragma once

#include <coroutine>
#include <cstdint>

#include "engine/event/timer.h"

namespace weir {

class Loop;

enum class Wait : uint8_t { done, timed_out, cancelled };

// The mailbox bell of one task: whoever changes something the task looks at rings it, and the task,
// woken from the loop's top level, looks at the state again. One waiter at a time.
//
//   while (!upstream.head_ready()) {
//     if (co_await event.wait(timeout) != Wait::done) …
//   }
//
// ring() while nobody waits is remembered: the next wait() returns at once. After cancel() every
// wait returns cancelled, at once, for good.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop), timer_(&Event::expired, this) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void ring();
  void cancel();
  bool cancelled() const { return cancelled_; }

  struct Awaiter {
    Event& event;
    uint64_t milliseconds;
    bool await_ready() const noexcept { return event.rung_ || event.cancelled_; }
    void await_suspend(std::coroutine_handle<> handle);
    Wait await_resume();
  };
  // milliseconds: 0 waits without limit.
  Awaiter wait(uint64_t milliseconds = 0) { return Awaiter{*this, milliseconds}; }

 private:
  static void expired(void* self);
  void wake();
  Loop& loop_;
  Timer timer_;
  std::coroutine_handle<> waiter_;
  bool rung_ = false;
  bool cancelled_ = false;
  bool timed_out_ = false;
  bool scheduled_ = false;
};

}  // namespace weir
