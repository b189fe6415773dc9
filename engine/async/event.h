#pragma once

#include <coroutine>
#include <cstdint>

#include "engine/event/deferred.h"
#include "engine/event/timer.h"

namespace weir {

class Loop;

enum class Wait : uint8_t { done, timed_out, cancelled };

// The mailbox bell of one task: whoever changes something the task looks at rings it, and the task,
// woken from the loop's top level, looks at the state again. One waiter at a time.
//
//   while (!upstream.head_ready()) {
//     const Wait wait = co_await event.wait(timeout);
//     if (wait != Wait::done) …
//   }
//
// Name the result: `if (co_await event.wait() == …)` inside of a loop is compiled wrongly by g++ 12
// (the frame's own handle is overwritten).
//
// ring() while nobody waits is remembered: the next wait() returns at once. After cancel() every
// wait returns cancelled, at once, for good. A ring and a timeout of the same round are a ring.
//
// Either side may go first: a waiting frame that is destroyed unregisters itself, and an Event that
// is destroyed with a waiter never wakes it (whoever owns the frame then destroys it).
class Event {
 public:
  explicit Event(Loop& loop)
      : loop_(loop), timer_(&Event::expired, this), wake_(&Event::resume, this) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();

  void ring();
  void cancel();
  bool cancelled() const { return cancelled_; }
  bool has_waiter() const { return awaiter_ != nullptr; }

  class Awaiter {
   public:
    Awaiter(Event& event, uint64_t milliseconds) : event_(&event), milliseconds_(milliseconds) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() { leave(); }
    bool await_ready() const noexcept { return event_->rung_ || event_->cancelled_; }
    void await_suspend(std::coroutine_handle<> handle);
    Wait await_resume();

   private:
    friend class Event;
    void leave();
    Event* event_;
    uint64_t milliseconds_;
    std::coroutine_handle<> handle_;
  };
  // milliseconds: 0 waits without limit.
  Awaiter wait(uint64_t milliseconds = 0) { return Awaiter(*this, milliseconds); }

 private:
  static void expired(void* self);
  static void resume(void* self);
  Loop& loop_;
  Timer timer_;
  Deferred wake_;
  Awaiter* awaiter_ = nullptr;
  bool rung_ = false;
  bool cancelled_ = false;
  bool timed_out_ = false;
};

}  // namespace weir
