#include "engine/event/foldable.h"

#include <utility>

#include "engine/event/loop.h"

namespace weir {
namespace {

constexpr uint64_t kPass = 1000;
// A pass over many goes in steps: other work has its turn in between.
constexpr uint64_t kPause = 5;
constexpr size_t kStep = 200;
// To fold and unfold costs some ten microseconds. Who comes back within kSoon seconds would pay
// that often, for little.
constexpr uint32_t kSoon = 10;
constexpr uint8_t kMostPatience = 16;

thread_local FoldWatch* of_this_thread = nullptr;

}  // namespace

void* Foldable::take() {
  release();
  slot_ = take_slot();
  return slot_;
}

void Foldable::watch(size_t size) {
  size_ = static_cast<uint32_t>(size);
  used_ = true;
  if (FoldWatch* watch = FoldWatch::of_thread(); watch && slot_ && !link_) watch->add(*this);
}

void Foldable::release() {
  unlink();
  if (!slot_) return;
  if (folded_.holds()) folded_.drop(slot_);
  free_slot(std::exchange(slot_, nullptr));
}

void Foldable::unfold() {
  folded_.unfold(slot_);
  FoldWatch* watch = FoldWatch::of_thread();
  if (!watch) return;
  learn(watch->seconds());
  watch->add(*this);
}

void Foldable::learn(uint32_t seconds) {
  if (seconds - folded_at_ >= kSoon) {
    patience_ = 1;
  } else if (patience_ < kMostPatience) {
    patience_ = static_cast<uint8_t>(2 * patience_);
  }
}

void Foldable::link(Foldable*& list) {
  next_ = list;
  if (next_) next_->link_ = &next_;
  list = this;
  link_ = &list;
}

void Foldable::unlink() {
  if (!link_) return;
  *link_ = next_;
  if (next_) next_->link_ = link_;
  link_ = nullptr;
}

FoldWatch::FoldWatch(Loop& loop) : loop_(loop), timer_(fire, this), before_(of_this_thread) {
  of_this_thread = this;
}

FoldWatch::~FoldWatch() {
  if (of_this_thread == this) of_this_thread = before_;
  for (Foldable** list : {&waiting_, &seen_}) {
    while (*list) (*list)->unlink();
  }
}

FoldWatch* FoldWatch::of_thread() {
  return of_this_thread;
}

void FoldWatch::add(Foldable& foldable) {
  foldable.link(seen_);
  if (!timer_.armed()) timer_.arm(loop_, kPass);
}

void FoldWatch::fire(void* self) {
  static_cast<FoldWatch*>(self)->look(kStep);
}

size_t FoldWatch::look(size_t most) {
  size_t count = 0;
  if (!waiting_) {
    std::swap(waiting_, seen_);
    if (waiting_) waiting_->link_ = &waiting_;
  }
  while (waiting_ && most-- > 0) count += judge(*waiting_) ? 1 : 0;
  if (waiting_) {
    timer_.arm(loop_, kPause);
  } else if (seen_) {
    timer_.arm(loop_, kPass);
  }
  return count;
}

bool FoldWatch::judge(Foldable& each) {
  each.unlink();
  each.idle_passes_ = std::exchange(each.used_, false) ? 0 : each.idle_passes_ + 1;
  if (each.idle_passes_ >= each.patience_ && fold(each)) return true;
  each.link(seen_);
  return false;
}

bool FoldWatch::fold(Foldable& each) {
  each.idle_passes_ = 0;
  each.folded_at_ = seconds();
  return each.folded_.fold(each.slot_, each.size_);
}

uint32_t FoldWatch::seconds() const {
  return static_cast<uint32_t>(loop_.now() / 1000);
}

size_t FoldWatch::pass() {
  return look(SIZE_MAX);
}

size_t FoldWatch::fold_all() {
  size_t count = 0;
  for (Foldable** list : {&waiting_, &seen_}) {
    Foldable* next = std::exchange(*list, nullptr);
    if (next) next->link_ = &next;
    while (next) {
      Foldable& each = *next;
      each.unlink();
      if (fold(each)) {
        ++count;
      } else {
        each.link(seen_);
      }
    }
  }
  return count;
}

}  // namespace weir
