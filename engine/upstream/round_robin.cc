#include "engine/upstream/round_robin.h"

#include <algorithm>

#include "engine/base/pooled.h"

namespace weir::upstream {
namespace {

void adopt_state(WeightedPeer& peer, const std::vector<WeightedPeer>* old,
                 std::vector<bool>& taken) {
  for (size_t i = 0; old && i < old->size(); ++i) {
    const WeightedPeer& before = (*old)[i];
    if (taken[i] || !(before.shown.address == peer.shown.address)) continue;
    taken[i] = true;
    peer.state = before.state;
    if (before.weight != peer.weight) {
      peer.state->current_weight = 0;
      peer.state->effective_weight = peer.weight;
    }
    return;
  }
  peer.state = make_ref<PeerState>();
  peer.state->effective_weight = peer.weight;
}

void add_peers(std::vector<WeightedPeer>& peers, const Server& server,
               const std::vector<WeightedPeer>* old, std::vector<bool>& taken) {
  for (const net::Address& address : server.addresses) {
    WeightedPeer peer;
    peer.shown.address = address;
    peer.shown.text = address.text();
    peer.weight = server.weight;
    peer.max_connections = server.max_connections;
    peer.max_fails = server.max_fails;
    peer.fail_timeout = static_cast<int64_t>(server.fail_timeout_milliseconds / 1000);
    peer.down = server.down;
    adopt_state(peer, old, taken);
    peers.push_back(std::move(peer));
  }
}

// Smooth weighted round robin: every choice raises each candidate by its effective weight and
// lowers the chosen one by their sum. A failure lowers the effective weight by weight / max_fails;
// it comes back by one with every choice.
class RoundRobin final : public Selection, public Pooled {
 public:
  RoundRobin(Ref<PeerSet> peers, int64_t (*seconds)(void*), void* clock)
      : peers_(std::move(peers)), seconds_(seconds), clock_(clock), tries_(peers_->tries()) {
    group_ = &peers_->primary;
    clear_tried();
  }
  ~RoundRobin() override { release(); }

  const Selection::Peer* next() override {
    release();
    if (peers_->single()) {
      WeightedPeer& peer = peers_->primary[0];
      if (peer.down || full(peer)) return nullptr;
      return use(peer);
    }
    if (WeightedPeer* peer = choose()) return use(*peer);
    if (group_ == &peers_->primary && !peers_->backup.empty()) {
      group_ = &peers_->backup;
      clear_tried();
      if (WeightedPeer* peer = choose()) return use(*peer);
    }
    return nullptr;
  }

  bool finish(Result result) override {
    if (!current_) return false;
    WeightedPeer& peer = *current_;
    PeerState& state = *peer.state;
    current_ = nullptr;
    --state.connections;
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
      state.fails = 0;
    }
    if (tries_ > 0) --tries_;
    return disabled;
  }

  uint32_t tries_left() const override { return tries_; }
  void limit_tries(uint32_t limit) override { tries_ = std::min(tries_, limit); }
  void give_try_back() override { ++tries_; }

 private:
  static bool full(const WeightedPeer& peer) {
    return peer.max_connections && peer.state->connections >= peer.max_connections;
  }

  void clear_tried() {
    first_tried_ = 0;
    if (group_->size() > 64) more_tried_.assign((group_->size() - 1) / 64, 0);
  }

  uint64_t& tried(size_t index) { return index < 64 ? first_tried_ : more_tried_[index / 64 - 1]; }

  const Selection::Peer* use(WeightedPeer& peer) {
    ++peer.state->connections;
    current_ = &peer;
    return &peer.shown;
  }

  void release() {
    if (current_) --current_->state->connections;
    current_ = nullptr;
  }

  bool available(const WeightedPeer& peer, size_t index, int64_t now) {
    if (tried(index) >> (index % 64) & 1) return false;
    if (peer.down || full(peer)) return false;
    const PeerState& state = *peer.state;
    return !(peer.max_fails && state.fails >= peer.max_fails &&
             now - state.checked <= peer.fail_timeout);
  }

  WeightedPeer* choose() {
    const int64_t now = seconds_(clock_);
    WeightedPeer* best = nullptr;
    size_t best_index = 0;
    int64_t total = 0;
    for (size_t i = 0; i < group_->size(); ++i) {
      WeightedPeer& peer = (*group_)[i];
      if (!available(peer, i, now)) continue;
      PeerState& state = *peer.state;
      state.current_weight += state.effective_weight;
      total += state.effective_weight;
      if (state.effective_weight < peer.weight) ++state.effective_weight;
      if (!best || state.current_weight > best->state->current_weight) {
        best = &peer;
        best_index = i;
      }
    }
    if (!best) return nullptr;
    tried(best_index) |= uint64_t{1} << (best_index % 64);
    PeerState& state = *best->state;
    state.current_weight -= total;
    if (now - state.checked > best->fail_timeout) state.checked = now;
    return best;
  }

  bool count_failure(WeightedPeer& peer) {
    PeerState& state = *peer.state;
    const int64_t now = seconds_(clock_);
    ++state.fails;
    state.accessed = now;
    state.checked = now;
    if (!peer.max_fails) return false;
    state.effective_weight -= peer.weight / peer.max_fails;
    if (state.effective_weight < 0) state.effective_weight = 0;
    return state.fails >= peer.max_fails;
  }

  Ref<PeerSet> peers_;
  int64_t (*seconds_)(void*);
  void* clock_;
  std::vector<WeightedPeer>* group_;
  uint64_t first_tried_ = 0;  // bit per peer of the group
  std::vector<uint64_t> more_tried_;
  WeightedPeer* current_ = nullptr;
  uint32_t tries_;
};

}  // namespace

PeerSet::PeerSet(const Cluster& cluster, const PeerSet* old) : cluster_id_(cluster.id) {
  std::vector<bool> taken_primary(old ? old->primary.size() : 0);
  std::vector<bool> taken_backup(old ? old->backup.size() : 0);
  for (const Server& server : cluster.servers) {
    if (server.backup) {
      add_peers(backup, server, old ? &old->backup : nullptr, taken_backup);
    } else {
      add_peers(primary, server, old ? &old->primary : nullptr, taken_primary);
    }
    if (!server.down) tries_ += static_cast<uint32_t>(server.addresses.size());
  }
}

std::unique_ptr<Selection> make_round_robin(Ref<PeerSet> peers, int64_t (*seconds)(void*),
                                            void* clock) {
  return std::make_unique<RoundRobin>(std::move(peers), seconds, clock);
}

}  // namespace weir::upstream
