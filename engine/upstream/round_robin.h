#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/pooled.h"
#include "engine/upstream/peer_set.h"

namespace weir::upstream {

// Clocks point to functions so that tests can turn them.
struct BalancerClock {
  int64_t (*seconds)(void*) = nullptr;
  uint64_t (*milliseconds)(void*) = nullptr;  // monotonic; null: seconds count
  void* of = nullptr;
  int64_t now() const { return seconds(of); }
  uint64_t now_milliseconds() const {
    return milliseconds ? milliseconds(of) : static_cast<uint64_t>(now()) * 1000;
  }
};

// Smooth weighted round robin, and what all balancers have in common: every choice raises each
// candidate by its effective weight and lowers the chosen one by their sum. A failure lowers the
// effective weight by weight / max_fails; it comes back by one with every choice. Other balancers
// override pick(), which is called with the states guarded.
class RoundRobin : public Selection, public Pooled {
 public:
  RoundRobin(Ref<PeerSet> peers, const BalancerClock& clock);
  ~RoundRobin() override;

  const Selection::Peer* next() final;
  bool finish(Result result) final;
  bool busy() final;
  void note_times(uint64_t header_milliseconds, uint64_t last_byte_milliseconds) override {
    header_milliseconds_ = header_milliseconds;
    last_byte_milliseconds_ = last_byte_milliseconds;
    timed_ = true;
  }
  uint32_t tries_left() const final { return tries_; }
  void limit_tries(uint32_t limit) final { tries_ = limit < tries_ ? limit : tries_; }
  const StickyName* sticky_name() const final;
  // The peer that `subject` is bound to is tried first. Before anything else.
  void bind(const Subject& subject);
  void give_try_back() final;
  Retry take_retry() final;

 protected:
  using Group = std::vector<WeightedPeer>;
  // A peer that was not tried and is available, marked as tried; null: none.
  virtual WeightedPeer* pick();
  // By round robin from the group in use.
  WeightedPeer* choose();
  bool to_backup();

  PeerSet& peers() { return *peers_; }
  const PeerSet& peers() const { return *peers_; }
  Group& group() { return *group_; }
  bool was_tried(size_t index) { return tried(index) >> (index % 64) & 1; }
  bool available(const WeightedPeer& peer, size_t index, int64_t now) {
    return !was_tried(index) && !peer.down && serves(peer, now);
  }
  WeightedPeer* take(size_t index, int64_t now) {
    WeightedPeer& peer = (*group_)[index];
    tried(index) |= uint64_t{1} << (index % 64);
    if (now - peer.state->checked > peer.fail_timeout) peer.state->checked = now;
    return &peer;
  }
  const BalancerClock& clock() const { return clock_; }
  // What a choice adds to a peer's turn: its effective weight, or what slow_start leaves of it.
  int64_t turn_weight(const WeightedPeer& peer) const {
    const int64_t weight = peer.state->effective_weight;
    return peers_->slow_starts() ? weight * PeerSet::share(peer, clock_.now_milliseconds())
                                 : weight;
  }

 private:
  static bool full(const WeightedPeer& peer) {
    return peer.max_connections && peer.state->connections >= peer.max_connections;
  }
  // Nothing but having been tried keeps it from being used.
  bool serves(const WeightedPeer& peer, int64_t now) const {
    return !full(peer) && !failed(peer, now);
  }
  static bool failed(const WeightedPeer& peer, int64_t now) {
    if (!peer.is_healthy()) return true;
    const PeerState& state = *peer.state;
    return peer.max_fails && state.fails >= peer.max_fails &&
           now - state.checked <= peer.fail_timeout;
  }
  WeightedPeer* take_bound();
  void bind_again();
  void clear_tried();
  uint64_t& tried(size_t index) { return index < 64 ? first_tried_ : more_tried_[index / 64 - 1]; }
  WeightedPeer* pick_or_stay();
  bool would_do(const Group& group, int64_t now);
  bool end_use(Result result);
  void tell_queue() const {
    if (peers_->queue) peers_->queue->released();
  }
  const Selection::Peer* use(WeightedPeer& peer);
  bool count_failure(WeightedPeer& peer);
  void count_times(PeerState& state);

  Ref<PeerSet> peers_;
  BalancerClock clock_;
  Group* group_;
  uint64_t first_tried_ = 0;  // bit per peer of the group
  std::vector<uint64_t> more_tried_;
  WeightedPeer* current_ = nullptr;
  WeightedPeer* last_ = nullptr;  // that was in use; of the group
  uint64_t current_began_ = 0;
  uint64_t header_milliseconds_ = 0, last_byte_milliseconds_ = 0;
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t bound_ = kNone;       // in PeerSet::sticky_names
  uint32_t last_bound_ = kNone;  // the one that was used last, as bound_
  uint32_t last_bound_tries_ = 0;
  uint32_t tried_backup_ = kNone;  // bound peer, tried before the backup group's turn
  uint32_t tries_;
  bool timed_ = false;
  bool counted_ = false;  // as a request of the retry budget
};

// By Cluster::balancing. What it needs of `subject` is asked now.
std::unique_ptr<Selection> make_selection(Ref<PeerSet> peers, const Cluster& cluster,
                                          const Subject& subject, const BalancerClock& clock);

// `seconds` points to the clock, so that tests can turn it.
std::unique_ptr<Selection> make_round_robin(Ref<PeerSet> peers, int64_t (*seconds)(void*),
                                            void* clock);

}  // namespace weir::upstream
