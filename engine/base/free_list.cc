#include "engine/base/free_list.h"

namespace weir {
namespace {

constinit thread_local FreeListKeeper* first = nullptr;

}  // namespace

FreeListKeeper::FreeListKeeper(std::span<FreeList> lists)
    : lists_(lists), next_(first), link_(&first) {
  if (next_) next_->link_ = &next_;
  first = this;
}

FreeListKeeper::~FreeListKeeper() {
  *link_ = next_;
  if (next_) next_->link_ = link_;
  for (FreeList& list : lists_) list.close();
}

void drain_free_lists() {
  for (FreeListKeeper* keeper = first; keeper; keeper = keeper->next_) {
    for (FreeList& list : keeper->lists_) list.drain();
  }
}

}  // namespace weir
