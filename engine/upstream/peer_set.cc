#include "engine/upstream/peer_set.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace weir::upstream {

namespace {

void set_weight(PeerState& state, uint32_t weight, bool fine) {
  if (state.weight == weight && state.fine == fine) return;
  state.weight = weight;
  state.fine = fine;
  state.current_weight = 0;
  state.effective_weight = weight;
}

// The state that an earlier configuration had for this address, or a new one.
Ref<OwnPeerState> own_state(const WeightedPeer& peer, const std::vector<WeightedPeer>* old,
                            std::vector<bool>& taken) {
  for (size_t i = 0; old && i < old->size(); ++i) {
    const WeightedPeer& before = (*old)[i];
    if (taken[i] || !before.own || !(before.shown.address == peer.shown.address)) continue;
    taken[i] = true;
    return before.own;
  }
  return make_ref<OwnPeerState>();
}

uint32_t add_crc(uint32_t crc, std::string_view text) {
  return static_cast<uint32_t>(
      crc32(crc, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

// Points as Cache::Memcached::Fast and nginx have them: CRC-32 of host, NUL, port and the hash of
// the server's point before.
void add_points(std::vector<HashPoint>& ring, std::string_view name, uint32_t number,
                uint32_t weight) {
  std::string_view host = name, port;
  if (name.starts_with("unix:")) {
    host.remove_prefix(5);
  } else {
    const size_t digits = name.find_last_not_of("0123456789");
    if (digits != name.npos && name[digits] == ':') {
      host = name.substr(0, digits);
      port = name.substr(digits + 1);
    }
  }
  const uint32_t base = add_crc(add_crc(add_crc(0, host), std::string_view("\0", 1)), port);
  uint32_t hash = 0;
  for (uint64_t i = 0; i < uint64_t{weight} * 160; ++i) {
    const char previous[4] = {static_cast<char>(hash), static_cast<char>(hash >> 8),
                              static_cast<char>(hash >> 16), static_cast<char>(hash >> 24)};
    hash = add_crc(base, {previous, 4});
    ring.push_back({hash, number});
  }
}

}  // namespace

PeerSet::PeerSet(const Cluster& cluster, const PeerSet* old)
    : cluster_id_(cluster.id),
      generation_(cluster.generation),
      cluster_name_(cluster.name),
      mapping_(cluster.zone ? cluster.zone->mapping() : nullptr),
      retry_budget_(cluster.retry_budget) {
  for (const auto& check : cluster.checks) checks_.push_back({check->key, check->policy});
  for (const Server& server : cluster.servers) {
    slow_starts_ |= server.slow_start_milliseconds > 0;
  }
  if (retry_budget_.enabled) {
    own_retries_ = old && old->own_retries_ ? old->own_retries_ : make_ref<OwnRetries>();
    retries_ = &own_retries_->counts;
  }
  if (old) retries_logged_ = old->retries_logged_;
  std::vector<bool> taken_primary(old ? old->primary.size() : 0);
  std::vector<bool> taken_backup(old ? old->backup.size() : 0);
  for (const Server& server : cluster.servers) {
    add_peers(server, old, server.backup ? taken_backup : taken_primary);
    if (!server.down && !server.drain) tries_ += static_cast<uint32_t>(server.addresses.size());
  }
  for (const WeightedPeer& peer : primary) total_weight_ += peer.weight;
  if (cluster.sticky) add_sticky_names(cluster);
  if (!mapping_) return;
  size_t number = 0;
  for_each([&](WeightedPeer& peer) {
    peer.shared_key = cluster.name;
    peer.shared_key += '\0';
    peer.shared_key += number < primary.size() ? 'p' : 'b';
    peer.shared_key += peer.shown.text;
    // The same address twice is two peers.
    size_t same = 0;
    const auto& group = number < primary.size() ? primary : backup;
    for (const WeightedPeer& other : group) {
      if (&other == &peer) break;
      if (other.shown.address == peer.shown.address) ++same;
    }
    if (same) peer.shared_key += '#' + std::to_string(same);
    ++number;
  });
  zone::Locked<SharedPeers> shared(*mapping_);
  find_shared(shared);
}

PeerSet::~PeerSet() {
  if (!mapping_) return;
  zone::Locked<SharedPeers> shared(*mapping_);
  if (shared.epoch() != epoch_) return;
  if (shared_retries_) {
    auto* entry = shared.at<SharedRetries>(shared_retries_);
    if (--entry->users == 0) shared->retries.remove(shared, *entry);
  }
  for_each([&](WeightedPeer& peer) {
    give_back_health(shared, peer);
    if (!peer.place) return;
    auto* entry = shared.at<SharedPeer>(peer.place);
    if (--entry->users > 0) return;
    // Tallies of processes that are gone with all their sets.
    for (PeerTally* tally = shared->tallies.oldest(shared); tally;) {
      PeerTally* newer = shared->tallies.newer(shared, *tally);
      if (tally->peer == peer.place) shared->tallies.remove(shared, *tally);
      tally = newer;
    }
    shared->table.remove(shared, *entry);
  });
}

void PeerSet::add_peers(const Server& server, const PeerSet* old, std::vector<bool>& taken) {
  const auto known = std::find(names_.begin(), names_.end(), server.name);
  const auto name = static_cast<uint32_t>(known - names_.begin());
  if (known == names_.end()) names_.push_back(server.name);
  for (const net::Address& address : server.addresses) {
    WeightedPeer peer;
    peer.shown.address = address;
    peer.shown.text = address.text();
    peer.weight = static_cast<uint32_t>(server.weight);
    peer.max_connections = server.max_connections;
    peer.max_fails = server.max_fails;
    peer.fail_timeout = static_cast<int64_t>(server.fail_timeout_milliseconds / 1000);
    peer.down = server.down || server.drain;
    peer.drain = server.drain && !server.down;
    peer.slow_start = server.slow_start_milliseconds;
    peer.name = name;
    const auto* before = !old ? nullptr : server.backup ? &old->backup : &old->primary;
    if (!mapping_) {
      peer.own = own_state(peer, before, taken);
      peer.state = &peer.own->numbers;
      set_weight(*peer.state, peer.weight, slow_starts_);
    }
    (server.backup ? backup : primary).push_back(std::move(peer));
  }
}

void PeerSet::add_sticky_names(const Cluster& cluster) {
  for (const bool backup : {false, true}) {
    for (const Server& server : cluster.servers) {
      if (server.backup != backup) continue;
      for (const net::Address& address : server.addresses) {
        Selection::StickyName name;
        name.text = server.route.empty() ? hexadecimal(md5(address.text())) : server.route;
        name.digest = md5(name.text);
        sticky_names.push_back(std::move(name));
      }
    }
  }
}

size_t PeerSet::find_bound(const Subject& subject) const {
  size_t index = 0;
  for (; index < sticky_names.size(); ++index) {
    const Selection::StickyName& name = sticky_names[index];
    if (subject.bound_to_digest ? name.digest == *subject.bound_to_digest
                                : name.text == subject.bound_to) {
      break;
    }
  }
  return index;
}

template <class Visit>
void PeerSet::for_each(Visit visit) {
  for (WeightedPeer& peer : primary) visit(peer);
  for (WeightedPeer& peer : backup) visit(peer);
}

// A zone that is full leaves a peer with a state of this worker's own.
void PeerSet::find_shared(zone::Locked<SharedPeers>& shared) {
  epoch_ = shared.epoch();
  give_back_of_dead(shared);
  // Before the peers take the room.
  if (!checks_.empty()) find_lease(shared);
  find_retries(shared);
  const auto process = static_cast<uint32_t>(getpid());
  for_each([&](WeightedPeer& peer) {
    SharedPeer* entry = shared->table.find(shared, peer.shared_key);
    if (!entry) entry = shared->table.add(shared, peer.shared_key);
    if (entry) {
      ++entry->users;
      peer.place = shared.place_of(entry);
      peer.state = &entry->state;
      const uint32_t name[2] = {process, peer.place};
      const std::string_view key(reinterpret_cast<const char*>(name), sizeof name);
      peer.tally = shared->tallies.find(shared, key);
      if (!peer.tally && (peer.tally = shared->tallies.add(shared, key))) {
        peer.tally->peer = peer.place;
        peer.tally->process = process;
      }
    } else {
      peer.place = 0;
      peer.tally = nullptr;
      if (!peer.own) peer.own = make_ref<OwnPeerState>();
      peer.state = &peer.own->numbers;
    }
    set_weight(*peer.state, peer.weight, slow_starts_);
    find_health(shared, peer);
  });
}

void PeerSet::find_health(zone::Locked<SharedPeers>& shared, WeightedPeer& peer) {
  peer.health.assign(checks_.size(), nullptr);
  peer.health_places.assign(checks_.size(), 0);
  for (size_t i = 0; i < checks_.size(); ++i) {
    const std::string key = peer.shared_key + '\0' + checks_[i].key;
    SharedHealth* entry = shared->health.find(shared, key);
    if (!entry) entry = shared->health.add(shared, key);
    if (!entry) continue;
    ++entry->users;
    begin_health(entry->state, checks_[i].policy, generation_);
    peer.health[i] = &entry->state;
    peer.health_places[i] = shared.place_of(entry);
  }
}

void PeerSet::give_back_health(zone::Locked<SharedPeers>& shared, const WeightedPeer& peer) {
  for (const zone::Place place : peer.health_places) {
    if (!place) continue;
    auto* entry = shared.at<SharedHealth>(place);
    if (--entry->users == 0) shared->health.remove(shared, *entry);
  }
}

// In a zone that is full every worker counts for itself.
void PeerSet::find_retries(zone::Locked<SharedPeers>& shared) {
  shared_retries_ = 0;
  if (!retry_budget_.enabled) return;
  retries_ = &own_retries_->counts;
  SharedRetries* entry = shared->retries.find(shared, cluster_name_);
  if (!entry) entry = shared->retries.add(shared, cluster_name_);
  if (!entry) return;
  ++entry->users;
  shared_retries_ = shared.place_of(entry);
  retries_ = &entry->counts;
}

bool PeerSet::logs_retries(uint64_t now) {
  constexpr uint64_t kBetweenLines = 1000;
  if (retries_logged_ != 0 && now - retries_logged_ < kBetweenLines) return false;
  retries_logged_ = std::max<uint64_t>(now, 1);
  return true;
}

// Connections of workers that were killed.
void PeerSet::give_back_of_dead(zone::Locked<SharedPeers>& shared) {
  for (PeerTally* tally = shared->tallies.oldest(shared); tally;) {
    PeerTally* newer = shared->tallies.newer(shared, *tally);
    if (!zone::is_alive(tally->process)) {
      PeerState& state = shared.at<SharedPeer>(tally->peer)->state;
      state.remove_connections(tally->connections, tally->began);
      shared->tallies.remove(shared, *tally);
    }
    tally = newer;
  }
}

int64_t PeerSet::share(const WeightedPeer& peer, uint64_t now_milliseconds) {
  PeerState& state = *peer.state;
  if (!state.slow_from) return kWhole;
  const uint64_t passed =
      now_milliseconds > state.slow_from ? now_milliseconds - state.slow_from : 0;
  if (passed >= peer.slow_start) {
    state.slow_from = 0;
    return kWhole;
  }
  return static_cast<int64_t>(static_cast<uint64_t>(kWhole) * passed / peer.slow_start);
}

void PeerSet::settle(zone::Mapping& mapping) {
  zone::Locked<SharedPeers> shared(mapping);
  give_back_of_dead(shared);
}

void PeerSet::Guard::lock() {
  lock_.emplace(*peers_.mapping_);
  // A worker died with the lock: all begin again.
  if (lock_->epoch() != peers_.epoch_) peers_.find_shared(*lock_);
}

// Null: the zone has no room for one.
SharedLease* PeerSet::find_lease(zone::Locked<SharedPeers>& shared) {
  SharedLease* found = shared->leases.find(shared, cluster_name_);
  return found ? found : shared->leases.add(shared, cluster_name_);
}

bool PeerSet::Guard::take_lease(uint32_t process, uint64_t now, uint64_t time) {
  if (!lock_) return true;
  SharedLease* found = peers_.find_lease(*lock_);
  return found && found->lease.take(process, now, time, zone::is_alive);
}

void PeerSet::Guard::leave_lease(uint32_t process) {
  if (!lock_) return;
  if (SharedLease* found = peers_.find_lease(*lock_)) found->lease.leave(process);
}

const std::vector<HashPoint>& PeerSet::ring() {
  if (!ring_.empty()) return ring_;
  for (const WeightedPeer& peer : primary) {
    add_points(ring_, names_[peer.name], peer.name, peer.weight);
  }
  std::stable_sort(ring_.begin(), ring_.end(),
                   [](const HashPoint& a, const HashPoint& b) { return a.hash < b.hash; });
  ring_.erase(std::unique(ring_.begin(), ring_.end(),
                          [](const HashPoint& a, const HashPoint& b) { return a.hash == b.hash; }),
              ring_.end());
  return ring_;
}

}  // namespace weir::upstream
