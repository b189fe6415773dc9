#pragma once

#include <cstddef>
#include <cstdint>

#include "confparse/ref.h"
#include "engine/async/event.h"
#include "engine/event/timer.h"

namespace weir::upstream {

// Requests of one worker that wait for a server of one group, first come, first served (`queue`).
// Who waits is called when a connection to the group ends; and the first one now and then, because
// connections of other workers end too, and servers that had failed may be tried again.
class Queue : public RefCounted {
 public:
  explicit Queue(Loop& loop) : loop_(loop), timer_(&Queue::look_again, this) {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // One that waits: from its making to its end. `event` is rung when it is called.
  class Place {
   public:
    Place(Queue& queue, Event& event);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    // It is this one's turn to ask for a server.
    bool called() const { return called_; }
    // There was none for it. `for_others`: there may be one for those behind it.
    void wait_again(bool for_others);

   private:
    friend class Queue;
    Ref<Queue> queue_;
    Event& event_;
    Place* before_;
    Place* behind_ = nullptr;
    bool called_ = false;
  };

  size_t waiting() const { return waiting_; }
  // A connection to a server of the group has ended: the next one is called.
  void released() {
    if (first_) call_from(first_);
  }

 private:
  static constexpr uint64_t kLookAgainMilliseconds = 10;
  static void look_again(void* self);
  void call_from(Place* place);

  Loop& loop_;
  Timer timer_;  // while somebody waits
  Place* first_ = nullptr;
  Place* last_ = nullptr;
  size_t waiting_ = 0;
};

}  // namespace weir::upstream
