#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/event/timer.h"
#include "engine/upstream/health.h"
#include "engine/upstream/peer_set.h"

namespace weir::upstream {

class Runtime;

// The checks of one cluster in one worker. All workers have one, and the one that holds the
// cluster's lease begins the checks that are due; when it dies or hangs, another does from then on.
// Peers come and go with the addresses of `resolve`.
class HealthMonitor final : private ProbeListener {
 public:
  // How long a lease is good for, and how often it is looked after.
  static constexpr uint64_t kLeaseMilliseconds = 5000;
  static constexpr uint64_t kTickMilliseconds = 1000;

  // Begins at once. The cluster is the generation's.
  HealthMonitor(Worker& worker, Runtime& runtime, Ref<Generation> generation,
                const Cluster& cluster);
  // Gives the lease back.
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

 private:
  // One check of one peer.
  struct Item {
    size_t check = 0;
    bool backup = false;
    size_t index = 0;  // of the peer in its group
    std::string key;   // finds it again when the peers change
    std::unique_ptr<Prober> prober;
    bool under_way = false;
  };

  static void tick_due(void* self) { static_cast<HealthMonitor*>(self)->tick(); }
  void tick();
  std::vector<Item*> take_due(uint64_t now, uint64_t& next);
  void tell_full();
  void use_peers();
  void add_items(const std::vector<WeightedPeer>& group, bool backup, std::vector<Item>& before);
  void begin(Item& item);
  void probe_over(Prober& prober, ProbeResult result) override;
  const WeightedPeer& peer_of(const Item& item) const;
  HealthState* state_of(const Item& item) const;

  Worker& worker_;
  Runtime& runtime_;
  Ref<Generation> generation_;
  const Cluster& cluster_;
  Ref<PeerSet> peers_;
  std::vector<Item> items_;  // empty without the lease
  bool told_full_ = false;
  std::minstd_rand chance_;
  Timer timer_;
};

}  // namespace weir::upstream
