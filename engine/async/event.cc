#include "engine/async/event.h"

#include <cassert>

#include "engine/event/loop.h"

namespace weir {

Event::~Event() {
  if (awaiter_ != nullptr) awaiter_->event_ = nullptr;
}

void Event::ring() {
  rung_ = true;
  if (awaiter_ != nullptr) wake_.schedule(loop_);
}

void Event::cancel() {
  cancelled_ = true;
  if (awaiter_ != nullptr) wake_.schedule(loop_);
}

void Event::expired(void* self) {
  auto* event = static_cast<Event*>(self);
  if (event->awaiter_ == nullptr) return;
  event->timed_out_ = true;
  event->wake_.schedule(event->loop_);
}

void Event::resume(void* self) {
  Awaiter* awaiter = static_cast<Event*>(self)->awaiter_;
  // The resume may destroy this Event: nothing is touched after it.
  if (awaiter != nullptr) awaiter->handle_.resume();
}

void Event::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  assert(event_->awaiter_ == nullptr);
  handle_ = handle;
  event_->awaiter_ = this;
  event_->timed_out_ = false;
  if (milliseconds_ != 0) event_->timer_.arm(event_->loop_, milliseconds_);
}

Wait Event::Awaiter::await_resume() {
  Event* event = event_;
  if (event == nullptr) return Wait::cancelled;
  leave();
  if (event->cancelled_) return Wait::cancelled;
  if (event->rung_) {
    event->rung_ = false;
    return Wait::done;
  }
  return Wait::timed_out;
}

void Event::Awaiter::leave() {
  if (event_ == nullptr || event_->awaiter_ != this) return;
  event_->awaiter_ = nullptr;
  event_->timer_.cancel();
  event_->wake_.cancel();
}

}  // namespace weir
