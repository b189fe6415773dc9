#include "engine/upstream/round_robin.h"

#include <algorithm>

namespace weir::upstream {

RoundRobin::RoundRobin(Ref<PeerSet> peers, const BalancerClock& clock)
    : peers_(std::move(peers)), clock_(clock), tries_(peers_->tries()) {
  group_ = &peers_->primary;
  clear_tried();
}

RoundRobin::~RoundRobin() {
  if (!current_) return;
  {
    const PeerSet::Guard guard(*peers_);
    PeerSet::remove_connection(*current_, current_began_);
  }
  tell_queue();
}

const Selection::Peer* RoundRobin::next() {
  const PeerSet::Guard guard(*peers_);
  if (last_bound_ != kNone) bind_again();
  if (current_) PeerSet::remove_connection(*current_, current_began_);
  current_ = nullptr;
  if (!counted_ && peers_->retry_budget().enabled) {
    counted_ = true;
    peers_->retries().count_request(peers_->retry_budget(), clock_.now_milliseconds());
  }
  if (bound_ != kNone) {
    if (WeightedPeer* peer = take_bound()) return use(*peer);
  }
  if (peers_->single()) {
    WeightedPeer& peer = peers_->primary[0];
    if (peer.down || full(peer) || !peer.is_healthy()) return nullptr;
    return use(peer);
  }
  WeightedPeer* peer = peers_->queue ? pick_or_stay() : pick();
  return peer ? use(*peer) : nullptr;
}

// Who may ask again later must find the first servers again then, not only the backup ones.
WeightedPeer* RoundRobin::pick_or_stay() {
  Group* const group = group_;
  const uint64_t first = first_tried_;
  const std::vector<uint64_t> more = more_tried_;
  WeightedPeer* const peer = pick();
  if (!peer) {
    group_ = group;
    first_tried_ = first;
    more_tried_ = more;
  }
  return peer;
}

bool RoundRobin::busy() {
  const PeerSet::Guard guard(*peers_);
  const int64_t now = clock_.now();
  return would_do(peers_->primary, now) || would_do(peers_->backup, now);
}

bool RoundRobin::would_do(const Group& group, int64_t now) {
  for (size_t i = 0; i < group.size(); ++i) {
    const WeightedPeer& peer = group[i];
    if (peer.down || !full(peer)) continue;
    if (&group == group_ && was_tried(i)) continue;
    if (peers_->single() ? peer.is_healthy() : !failed(peer, now)) return true;
  }
  return false;
}

WeightedPeer* RoundRobin::pick() {
  if (WeightedPeer* peer = choose()) return peer;
  return to_backup() ? choose() : nullptr;
}

bool RoundRobin::to_backup() {
  if (group_ != &peers_->primary || peers_->backup.empty()) return false;
  group_ = &peers_->backup;
  clear_tried();
  if (tried_backup_ != kNone) tried(tried_backup_) |= uint64_t{1} << (tried_backup_ % 64);
  return true;
}

bool RoundRobin::finish(Result result) {
  if (!current_) return false;
  const bool disabled = end_use(result);
  tell_queue();
  return disabled;
}

bool RoundRobin::end_use(Result result) {
  const PeerSet::Guard guard(*peers_);
  WeightedPeer& peer = *current_;
  PeerState& state = *peer.state;
  current_ = nullptr;
  PeerSet::remove_connection(peer, current_began_);
  if (timed_ && result != Result::failed) count_times(state);
  timed_ = false;
  if (peers_->single()) {
    state.fails = 0;
    tries_ = 0;
    return false;
  }
  bool disabled = false;
  if (result == Result::failed) {
    disabled = count_failure(peer);
  } else if (state.accessed < state.checked) {
    // The first success after it was tried again.
    if (peer.max_fails && state.fails >= peer.max_fails) {
      PeerSet::recovered(peer, clock_.now_milliseconds());
    }
    state.fails = 0;
  }
  if (tries_ > 0) --tries_;
  return disabled;
}

void RoundRobin::give_try_back() {
  ++tries_;
  if (!last_ || last_ < group_->data() || last_ >= group_->data() + group_->size()) return;
  const auto index = static_cast<size_t>(last_ - group_->data());
  tried(index) &= ~(uint64_t{1} << (index % 64));
}

Selection::Retry RoundRobin::take_retry() {
  const RetryBudget& budget = peers_->retry_budget();
  if (!budget.enabled) return Retry::granted;
  const PeerSet::Guard guard(*peers_);
  const uint64_t now = clock_.now_milliseconds();
  if (peers_->retries().take_retry(budget, now)) return Retry::granted;
  return peers_->logs_retries(now) ? Retry::refused_first : Retry::refused;
}

void RoundRobin::clear_tried() {
  first_tried_ = 0;
  if (group_->size() > 64) more_tried_.assign((group_->size() - 1) / 64, 0);
}

const Selection::Peer* RoundRobin::use(WeightedPeer& peer) {
  current_began_ = clock_.now_milliseconds();
  PeerSet::add_connection(peer, current_began_);
  current_ = last_ = &peer;
  return &peer.shown;
}

void RoundRobin::bind(const Subject& subject) {
  const size_t index = peers_->find_bound(subject);
  if (index == peers_->sticky_names.size()) return;
  bound_ = static_cast<uint32_t>(index);
  const size_t primary = peers_->primary.size();
  if ((index < primary ? peers_->primary[index] : peers_->backup[index - primary]).drain) ++tries_;
}

// Once: if this peer fails, the others' turn comes as if there were no binding.
WeightedPeer* RoundRobin::take_bound() {
  const int64_t now = clock_.now();
  const size_t primary = peers_->primary.size();
  const Selection::StickyName& name = peers_->sticky_names[bound_];
  size_t index = bound_;
  bound_ = kNone;
  for (; index < peers_->sticky_names.size(); ++index) {
    if (peers_->sticky_names[index].digest != name.digest) continue;
    const bool backup = index >= primary;
    WeightedPeer& peer = backup ? peers_->backup[index - primary] : peers_->primary[index];
    if (peer.down && !peer.drain) continue;
    if (peers_->single() ? full(peer) || !peer.is_healthy() : !serves(peer, now)) continue;
    last_bound_ = static_cast<uint32_t>(index);
    last_bound_tries_ = tries_;
    if (!backup) return take(index, now);
    tried_backup_ = static_cast<uint32_t>(index - primary);
    if (now - peer.state->checked > peer.fail_timeout) peer.state->checked = now;
    return &peer;
  }
  return nullptr;
}

// The try that the bound peer took was given back: it was none.
void RoundRobin::bind_again() {
  if (tries_ == last_bound_tries_) {
    bound_ = last_bound_;
    tried_backup_ = kNone;
  }
  last_bound_ = kNone;
}

const Selection::StickyName* RoundRobin::sticky_name() const {
  if (!current_ || peers_->sticky_names.empty()) return nullptr;
  size_t index = 0;
  while (index < peers_->primary.size() && &peers_->primary[index] != current_) ++index;
  if (index == peers_->primary.size()) {
    index += static_cast<size_t>(current_ - peers_->backup.data());
  }
  return &peers_->sticky_names[index];
}

WeightedPeer* RoundRobin::choose() {
  const int64_t now = clock_.now();
  const bool slow = peers_->slow_starts();
  size_t best = group_->size();
  int64_t total = 0;
  for (size_t i = 0; i < group_->size(); ++i) {
    WeightedPeer& peer = (*group_)[i];
    if (!available(peer, i, now)) continue;
    PeerState& state = *peer.state;
    const int64_t weight = slow ? turn_weight(peer) : state.effective_weight;
    state.current_weight += weight;
    total += weight;
    if (state.effective_weight < peer.weight) ++state.effective_weight;
    if (best == group_->size() || state.current_weight > (*group_)[best].state->current_weight) {
      best = i;
    }
  }
  if (best == group_->size()) return nullptr;
  (*group_)[best].state->current_weight -= total;
  return take(best, now);
}

bool RoundRobin::count_failure(WeightedPeer& peer) {
  PeerState& state = *peer.state;
  const int64_t now = clock_.now();
  ++state.fails;
  state.accessed = now;
  state.checked = now;
  if (!peer.max_fails) return false;
  state.effective_weight -= peer.weight / peer.max_fails;
  if (state.effective_weight < 0) state.effective_weight = 0;
  return state.fails >= peer.max_fails;
}

// Averages that follow slowly: by an eighth of the difference each time, and by more where they are
// old.
void RoundRobin::count_times(PeerState& state) {
  const uint64_t now = clock_.now_milliseconds();
  const uint64_t age = now > state.answered ? now - state.answered : 0;
  state.answered = now;
  const auto follow = [age](uint32_t& average, uint64_t milliseconds) {
    const uint64_t time = std::min<uint64_t>(milliseconds, 4'000'000) * 1000;
    const uint64_t before = average ? average : time;
    const uint64_t kept = aged((std::max(before, time) - std::min(before, time)) * 7 / 8, age);
    average = static_cast<uint32_t>(before > time ? time + kept : time - kept);
  };
  follow(state.header_time, header_milliseconds_);
  follow(state.last_byte_time, last_byte_milliseconds_);
}

std::unique_ptr<Selection> make_round_robin(Ref<PeerSet> peers, int64_t (*seconds)(void*),
                                            void* clock) {
  BalancerClock turned;
  turned.seconds = seconds;
  turned.of = clock;
  return std::make_unique<RoundRobin>(std::move(peers), turned);
}

}  // namespace weir::upstream
