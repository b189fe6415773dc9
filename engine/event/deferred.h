#pragma once

namespace weir {

class Loop;

// A call that waits for the loop's top level: what must not run inside the caller's stack (waking a
// task, destroying what is calling). Costs no allocation, is queued at most once, and is forgotten
// when it is destroyed. Not copyable, not movable.
class Deferred {
 public:
  using Run = void (*)(void* owner);
  Deferred(Run run, void* owner) : run_(run), owner_(owner) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() { cancel(); }

  // Runs once, in this round, after the current callback has returned. Again before it ran: no
  // effect.
  void schedule(Loop& loop);
  // The same, ahead of what is queued already: for what those others will want to see.
  void schedule_first(Loop& loop);
  // The same at the end of the round, when all that is ready has been served: for output that many
  // add to and that leaves in one write.
  void schedule_late(Loop& loop);
  void cancel() {
    if (next_ == nullptr) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = nullptr;
  }
  bool scheduled() const { return next_ != nullptr; }

 private:
  friend class DeferredQueue;
  Run run_;
  void* owner_;
  Deferred* next_ = nullptr;  // a ring with the queue's end mark; null: not queued
  Deferred* previous_ = nullptr;
};

// The loop's queue of deferred calls.
class DeferredQueue {
 public:
  DeferredQueue() : end_(nullptr, nullptr) { end_.next_ = end_.previous_ = &end_; }
  DeferredQueue(const DeferredQueue&) = delete;
  DeferredQueue& operator=(const DeferredQueue&) = delete;
  ~DeferredQueue() {
    clear();
    end_.next_ = nullptr;
  }
  bool empty() const { return end_.next_ == &end_; }
  void push(Deferred& deferred) {
    if (deferred.next_ != nullptr) return;
    deferred.previous_ = end_.previous_;
    deferred.next_ = &end_;
    end_.previous_->next_ = &deferred;
    end_.previous_ = &deferred;
  }
  void push_first(Deferred& deferred) {
    if (deferred.next_ != nullptr) return;
    deferred.previous_ = &end_;
    deferred.next_ = end_.next_;
    end_.next_->previous_ = &deferred;
    end_.next_ = &deferred;
  }
  // Takes all that `other` holds; this one is empty.
  void take(DeferredQueue& other) {
    if (other.empty()) return;
    end_.next_ = other.end_.next_;
    end_.previous_ = other.end_.previous_;
    end_.next_->previous_ = &end_;
    end_.previous_->next_ = &end_;
    other.end_.next_ = other.end_.previous_ = &other.end_;
  }
  void run_first() {
    Deferred* first = end_.next_;
    first->cancel();
    first->run_(first->owner_);
  }
  void clear() {
    while (!empty()) end_.next_->cancel();
  }

 private:
  Deferred end_;
};

}  // namespace weir
