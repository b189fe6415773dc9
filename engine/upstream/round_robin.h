#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "confparse/ref.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/runtime.h"

namespace weir::upstream {

// What is remembered of one address in one cluster, over reloads.
struct PeerState : RefCounted {
  int64_t current_weight = 0;
  int64_t effective_weight = 1;
  uint32_t fails = 0;
  uint32_t connections = 0;
  int64_t accessed = 0;  // seconds, when it last failed
  int64_t checked = 0;   // seconds, when it last failed or was tried again
};

// One address as the present configuration sees it.
struct WeightedPeer {
  Selection::Peer shown;
  uint32_t weight = 1;
  uint32_t max_connections = 0;
  uint32_t max_fails = 1;
  int64_t fail_timeout = 10;  // seconds
  bool down = false;
  Ref<PeerState> state;
};

// The peers of one cluster: servers, then backup servers.
class PeerSet : public RefCounted {
 public:
  // `old` is the set of an earlier configuration of the same name, or null: its states are taken
  // over.
  PeerSet(const Cluster& cluster, const PeerSet* old);
  uint64_t cluster_id() const { return cluster_id_; }

  std::vector<WeightedPeer> primary;
  std::vector<WeightedPeer> backup;
  // A single peer is never taken out of service.
  bool single() const { return backup.empty() && primary.size() == 1; }
  // How many attempts an exchange has: servers that are not down.
  uint32_t tries() const { return tries_; }

 private:
  uint64_t cluster_id_;
  uint32_t tries_ = 0;
};

// `seconds` points to the clock, so that tests can turn it.
std::unique_ptr<Selection> make_round_robin(Ref<PeerSet> peers, int64_t (*seconds)(void*),
                                            void* clock);

}  // namespace weir::upstream
