#include "engine/upstream/zone_room.h"

#include "engine/upstream/peer_set.h"

namespace weir::upstream {

bool zone_has_room(const zone::ZoneRequest& request, const std::vector<const Cluster*>& clusters) {
  // More than any server takes, and what the tables take of a small zone.
  constexpr uint64_t kAmplePerServer = 2048;
  constexpr uint64_t kAmple = 128 * 1024;
  uint64_t servers = 0;
  for (const Cluster* cluster : clusters) {
    for (const Server& server : cluster->servers) {
      servers += server.addresses.size() * (1 + cluster->checks.size());
    }
  }
  if (request.size >= kAmple + servers * kAmplePerServer) return true;
  const auto trial = std::make_shared<zone::Zone>(request);
  if (!trial->attach_private()) return true;  // no memory is not this question
  std::vector<Ref<PeerSet>> sets;
  for (const Cluster* cluster : clusters) {
    Cluster tried = *cluster;
    tried.zone = trial;
    sets.push_back(make_ref<PeerSet>(tried, nullptr));
    for (const auto* group : {&sets.back()->primary, &sets.back()->backup}) {
      for (const WeightedPeer& peer : *group) {
        if (!peer.place) return false;
        for (const HealthState* state : peer.health) {
          if (!state) return false;
        }
      }
    }
  }
  return true;
}

}  // namespace weir::upstream
