#include "engine/upstream/health_monitor.h"

#include <unistd.h>

#include <algorithm>

#include "engine/upstream/runtime.h"
#include "engine/worker.h"

namespace weir::upstream {
namespace {

// Ticks no closer than this: results of many peers are served together.
constexpr uint64_t kShortestTick = 5;

uint32_t own_process() {
  return static_cast<uint32_t>(getpid());
}

}  // namespace

HealthMonitor::HealthMonitor(Worker& worker, Runtime& runtime, Ref<Generation> generation,
                             const Cluster& cluster)
    : worker_(worker),
      runtime_(runtime),
      generation_(std::move(generation)),
      cluster_(cluster),
      chance_(own_process() * 7919u + static_cast<uint32_t>(worker.loop.now())),
      timer_(&HealthMonitor::tick_due, this) {
  // The states are there before the first request asks.
  peers_ = runtime_.peers(cluster_);
  timer_.arm(worker_.loop, 0);
}

HealthMonitor::~HealthMonitor() {
  items_.clear();
  PeerSet::Guard(*peers_).leave_lease(own_process());
}

const WeightedPeer& HealthMonitor::peer_of(const Item& item) const {
  return (item.backup ? peers_->backup : peers_->primary)[item.index];
}

// Null where the zone had no room. Under a Guard.
HealthState* HealthMonitor::state_of(const Item& item) const {
  return peer_of(item).health[item.check];
}

void HealthMonitor::tick() {
  const uint64_t now = worker_.loop.now();
  uint64_t next = now + kTickMilliseconds;
  std::vector<Item*> due;
  bool full = false;
  // Not let go before the zone is unlocked.
  const Ref<PeerSet> before = std::exchange(peers_, runtime_.peers(cluster_));
  {
    PeerSet::Guard guard(*peers_);
    if (!guard.take_lease(own_process(), now, kLeaseMilliseconds)) {
      items_.clear();
      return timer_.arm(worker_.loop, kTickMilliseconds);
    }
    if (before.get() != peers_.get() || items_.empty()) use_peers();
    for (Item& item : items_) {
      if (item.under_way) continue;
      HealthState* state = state_of(item);
      if (!state) {
        full = true;
        continue;
      }
      if (state->due > now) {
        next = std::min(next, state->due);
        continue;
      }
      // Should this worker die over it, another one tries then.
      state->due = now + cluster_.checks[item.check]->policy.interval_milliseconds;
      due.push_back(&item);
    }
  }
  if (full) tell_full();
  for (Item* item : due) begin(*item);
  timer_.arm(worker_.loop, std::max(next - now, kShortestTick));
}

void HealthMonitor::tell_full() {
  if (std::exchange(told_full_, true) || !runtime_.log_error) return;
  runtime_.log_error("zone \"" + cluster_.zone->request.name +
                     "\" is too small: some servers of upstream \"" + cluster_.name +
                     "\" are not checked");
}

// Checks of peers that are still there go on.
void HealthMonitor::use_peers() {
  std::vector<Item> before = std::move(items_);
  items_.clear();
  add_items(peers_->primary, false, before);
  add_items(peers_->backup, true, before);
}

void HealthMonitor::add_items(const std::vector<WeightedPeer>& group, bool backup,
                              std::vector<Item>& before) {
  for (size_t index = 0; index < group.size(); ++index) {
    const WeightedPeer& peer = group[index];
    if (peer.down && !peer.drain) continue;
    for (size_t check = 0; check < cluster_.checks.size(); ++check) {
      const auto known = std::find_if(before.begin(), before.end(), [&](const Item& item) {
        return item.check == check && item.key == peer.shared_key;
      });
      Item item;
      if (known != before.end()) item = std::move(*known);
      item.check = check;
      item.backup = backup;
      item.index = index;
      item.key = peer.shared_key;
      items_.push_back(std::move(item));
    }
  }
}

void HealthMonitor::begin(Item& item) {
  if (!item.prober) {
    const HealthCheck& check = *cluster_.checks[item.check];
    const WeightedPeer& peer = peer_of(item);
    net::Address address = peer.shown.address;
    if (check.port && !address.is_unix()) address.set_port(check.port);
    ProbeTarget target{worker_, generation_, cluster_, check, address, peer.shown.text};
    item.prober = check.make_prober(std::move(target), *this);
  }
  item.under_way = true;
  item.prober->begin();
}

void HealthMonitor::probe_over(Prober& prober, ProbeResult result) {
  const auto item = std::find_if(items_.begin(), items_.end(),
                                 [&](const Item& one) { return one.prober.get() == &prober; });
  if (item == items_.end()) return;
  item->under_way = false;
  const HealthPolicy& policy = cluster_.checks[item->check]->policy;
  HealthChange change = HealthChange::none;
  const uint64_t now = worker_.loop.now();
  uint64_t due = now + policy.interval_milliseconds;
  {
    const PeerSet::Guard guard(*peers_);
    if (HealthState* state = state_of(*item)) {
      if (result != ProbeResult::unknown) {
        change = note_check(*state, policy, result == ProbeResult::passed);
      }
      if (change == HealthChange::became_healthy) PeerSet::recovered(peer_of(*item), now);
      due = state->due = next_check(policy, now, chance_());
    }
  }
  if (change == HealthChange::became_unhealthy) prober.log(Severity::warn, "peer is unhealthy");
  if (change == HealthChange::became_healthy) prober.log(Severity::notice, "peer is healthy");
  const uint64_t wait = std::max(due - now, kShortestTick);
  if (!timer_.armed() || timer_.deadline() > now + wait) timer_.arm(worker_.loop, wait);
}

}  // namespace weir::upstream
