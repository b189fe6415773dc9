#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "confparse/ref.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/health.h"
#include "engine/upstream/queue.h"
#include "engine/upstream/runtime.h"
#include "engine/zone/table.h"

namespace weir::upstream {

// What is remembered of one address in one cluster, over reloads: in this worker, or (`zone`) in
// memory that all workers share. Plain data.
struct PeerState {
  int64_t current_weight = 0;
  int64_t effective_weight = 1;
  int64_t accessed = 0;  // seconds, when it last failed
  int64_t checked = 0;   // seconds, when it last failed or was tried again
  uint32_t weight = 1;   // that effective_weight belongs to
  uint32_t fails = 0;
  uint32_t connections = 0;
  // least_time: moving averages in microseconds, 0: none yet.
  uint32_t header_time = 0;
  uint32_t last_byte_time = 0;
  uint64_t chosen = 0;    // milliseconds, when it was last taken
  uint64_t answered = 0;  // the same, when the averages were last moved
  // slow_start: since when the weight comes back (milliseconds), 0: it is whole.
  uint64_t slow_from = 0;
  uint32_t slow_turns = 0;  // of choices that fell on it meanwhile, in parts of PeerSet::kWhole
  bool fine = false;        // current_weight is in parts of PeerSet::kWhole
  uint64_t began = 0;       // the sum of the moments (milliseconds) that `connections` began at

  void add_connection(uint64_t moment) {
    ++connections;
    began += moment;
    chosen = moment;
  }
  // What is not there any more (a zone was emptied) is not taken away.
  void remove_connections(uint32_t count, uint64_t moments) {
    connections = connections > count ? connections - count : 0;
    began = connections > 0 && began > moments ? began - moments : 0;
  }
};

// What is left of a measured time after so many milliseconds without another: half after each
// kHalfLife. So a server that was slow once is tried again.
constexpr uint64_t kHalfLife = 10'000;
constexpr uint64_t aged(uint64_t value, uint64_t milliseconds) {
  if (milliseconds >= 64 * kHalfLife) return 0;
  value >>= milliseconds / kHalfLife;
  return value - value * (milliseconds % kHalfLife) / (2 * kHalfLife);
}

// A PeerState in a zone, found by cluster, role and address.
struct SharedPeer : zone::Entry {
  uint32_t users = 0;  // peer sets of workers
  PeerState state;
};
// What one process holds of a peer, so that it can be given back when that process is killed.
struct PeerTally : zone::Entry {
  zone::Place peer = 0;
  uint32_t process = 0;
  uint32_t connections = 0;
  uint64_t began = 0;
};
// What one health check knows of a peer, by cluster, role, address and check.
struct SharedHealth : zone::Entry {
  uint32_t users = 0;
  HealthState state;
};
// Who does the checks of a cluster; by its name.
struct SharedLease : zone::Entry {
  Lease lease;
};
// The counts of a cluster's `retry_budget`, by its name.
struct SharedRetries : zone::Entry {
  uint32_t users = 0;  // peer sets of workers
  RetryCounts counts;
};
struct SharedPeers {
  zone::Table<SharedPeer> table;
  zone::Table<PeerTally> tallies;  // by process and peer
  zone::Table<SharedHealth> health;
  zone::Table<SharedLease> leases;
  zone::Table<SharedRetries> retries;
  void start(zone::Lock& lock) {
    table.start(lock);
    tallies.start(lock);
    health.start(lock);
    leases.start(lock);
    retries.start(lock);
  }
};

struct OwnPeerState : RefCounted {
  PeerState numbers;
};
struct OwnRetries : RefCounted {
  RetryCounts counts;
};

// One address as the present configuration sees it.
struct WeightedPeer {
  Selection::Peer shown;
  uint32_t weight = 1;
  uint32_t max_connections = 0;
  uint32_t max_fails = 1;
  int64_t fail_timeout = 10;  // seconds
  uint64_t slow_start = 0;    // milliseconds
  bool down = false;          // or draining
  bool drain = false;         // not down: for those that are bound to it
  uint32_t name = 0;          // number of its server's name: equal names, equal numbers
  // Touched under a PeerSet::Guard only.
  PeerState* state = nullptr;
  Ref<OwnPeerState> own;   // where it is, without a zone
  std::string shared_key;  // where it is, with one
  zone::Place place = 0;
  PeerTally* tally = nullptr;  // null: none (no zone, or a full one)
  // One for each check of the cluster; null where the zone is full. Touched under a Guard only.
  std::vector<HealthState*> health;
  std::vector<zone::Place> health_places;

  // No check objects to it. Under a PeerSet::Guard.
  bool is_healthy() const {
    for (const HealthState* state : health) {
      if (state && state->health != Health::up) return false;
    }
    return true;
  }
};

// A point on the ring of consistent hashing.
struct HashPoint {
  uint32_t hash;
  uint32_t name;  // WeightedPeer::name
};

// The peers of one cluster: servers, then backup servers. Refers to nothing of a generation.
class PeerSet : public RefCounted {
 public:
  // `old` is the set of an earlier configuration of the same name, or null: its states are taken
  // over.
  PeerSet(const Cluster& cluster, const PeerSet* old);
  ~PeerSet();
  uint64_t cluster_id() const { return cluster_id_; }
  // For Zone::settle: gives back the connections of processes that are gone.
  static void settle(zone::Mapping& mapping);

  std::vector<WeightedPeer> primary;
  std::vector<WeightedPeer> backup;
  // Where the group is `sticky`: names of the primary peers, then of the backup ones.
  std::vector<Selection::StickyName> sticky_names;
  // The first peer that `subject` is bound to, as a number in sticky_names; or their count.
  size_t find_bound(const Subject& subject) const;
  // A single peer is never taken out of service.
  bool single() const { return backup.empty() && primary.size() == 1; }
  // How many attempts an exchange has: servers that are not down or draining.
  uint32_t tries() const { return tries_; }
  uint64_t total_weight() const { return total_weight_; }  // of the primary ones
  // Weights come back slowly after an outage: they are counted in parts of kWhole.
  static constexpr int64_t kWhole = 1024;
  bool slow_starts() const { return slow_starts_; }
  // Under a Guard: the peer is back after an outage.
  static void recovered(const WeightedPeer& peer, uint64_t now_milliseconds) {
    if (peer.slow_start) peer.state->slow_from = now_milliseconds ? now_milliseconds : 1;
  }
  // Under a Guard: how much of its weight a peer has now.
  static int64_t share(const WeightedPeer& peer, uint64_t now_milliseconds);
  // Told when a connection ends; null: nobody waits for that.
  Ref<Queue> queue;
  // Sorted by hash, made at first use.
  const std::vector<HashPoint>& ring();

  // While it lives the states may be looked at and changed: holds the zone's lock, if there is one.
  class Guard {
   public:
    explicit Guard(PeerSet& peers) : peers_(peers) {
      if (peers.mapping_) lock();
    }
    // Does this process do the health checks? Without a zone, always.
    bool take_lease(uint32_t process, uint64_t now, uint64_t time);
    void leave_lease(uint32_t process);

   private:
    void lock();
    PeerSet& peers_;
    std::optional<zone::Locked<SharedPeers>> lock_;
  };
  const RetryBudget& retry_budget() const { return retry_budget_; }
  // Of a budget that is enabled. Under a Guard.
  RetryCounts& retries() { return *retries_; }
  // That the budget is spent is logged once a second, by this worker.
  bool logs_retries(uint64_t now);
  // Under a Guard.
  static void add_connection(WeightedPeer& peer, uint64_t moment) {
    peer.state->add_connection(moment);
    if (!peer.tally) return;
    ++peer.tally->connections;
    peer.tally->began += moment;
  }
  static void remove_connection(WeightedPeer& peer, uint64_t moment) {
    peer.state->remove_connections(1, moment);
    if (!peer.tally || peer.tally->connections == 0) return;
    --peer.tally->connections;
    peer.tally->began = peer.tally->began > moment ? peer.tally->began - moment : 0;
  }

 private:
  void add_peers(const Server& server, const PeerSet* old, std::vector<bool>& taken);
  void add_sticky_names(const Cluster& cluster);
  template <class Visit>
  void for_each(Visit visit);
  void find_shared(zone::Locked<SharedPeers>& shared);
  SharedLease* find_lease(zone::Locked<SharedPeers>& shared);
  void find_health(zone::Locked<SharedPeers>& shared, WeightedPeer& peer);
  void give_back_health(zone::Locked<SharedPeers>& shared, const WeightedPeer& peer);
  static void give_back_of_dead(zone::Locked<SharedPeers>& shared);
  void find_retries(zone::Locked<SharedPeers>& shared);

  // Of a check, what outlives its generation.
  struct Check {
    std::string key;
    HealthPolicy policy;
  };

  uint64_t cluster_id_;
  uint64_t generation_;
  std::string cluster_name_;
  std::vector<Check> checks_;
  uint32_t tries_ = 0;
  uint64_t total_weight_ = 0;
  bool slow_starts_ = false;
  std::vector<std::string> names_;
  std::vector<HashPoint> ring_;
  std::shared_ptr<zone::Mapping> mapping_;  // null: every worker for itself
  uint64_t epoch_ = 0;                      // of the zone that `place`s belong to
  RetryBudget retry_budget_;
  RetryCounts* retries_ = nullptr;
  Ref<OwnRetries> own_retries_;
  zone::Place shared_retries_ = 0;
  uint64_t retries_logged_ = 0;
};

}  // namespace weir::upstream
