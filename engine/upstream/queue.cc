#include "engine/upstream/queue.h"

namespace weir::upstream {

Queue::Place::Place(Queue& queue, Event& event)
    : queue_(&queue), event_(event), before_(queue.last_) {
  (before_ ? before_->behind_ : queue.first_) = this;
  queue.last_ = this;
  if (queue.waiting_++ == 0) queue.timer_.arm(queue.loop_, kLookAgainMilliseconds);
}

Queue::Place::~Place() {
  (before_ ? before_->behind_ : queue_->first_) = behind_;
  (behind_ ? behind_->before_ : queue_->last_) = before_;
  if (--queue_->waiting_ == 0) queue_->timer_.cancel();
  // It may have left without using what it was called for.
  if (called_) queue_->released();
}

void Queue::Place::wait_again(bool for_others) {
  called_ = false;
  if (for_others && behind_) queue_->call_from(behind_);
}

// The first one that is not called already.
void Queue::call_from(Place* place) {
  while (place && place->called_) place = place->behind_;
  if (!place) return;
  place->called_ = true;
  place->event_.ring();
}

void Queue::look_again(void* self) {
  auto& queue = *static_cast<Queue*>(self);
  queue.released();
  if (queue.first_) queue.timer_.arm(queue.loop_, kLookAgainMilliseconds);
}

}  // namespace weir::upstream
