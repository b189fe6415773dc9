#include "engine/upstream/health_monitor.h"

#include <unistd.h>

#include <algorithm>

#include "engine/upstream/runtime.h"
#include "engine/worker.h"

namespace weir::upstream {
namespace {

// Ticks no closer than this: results of many peers are served together.
constexpr uint64_t kShortestTick = 5;
// Checks under way of one upstream: a quarter of the worker's connections, but no less than this.
constexpr size_t kLeastAtOnce = 16;

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
  const Ref<PeerSet> before = std::exchange(peers_, runtime_.peers(cluster_));
  if (!PeerSet::Guard(*peers_).take_lease(own_process(), now, kLeaseMilliseconds)) {
    items_.clear();
    return timer_.arm(worker_.loop, kTickMilliseconds);
  }
  if (before.get() != peers_.get() || items_.empty()) use_peers();
  uint64_t next = now + kTickMilliseconds;
  for (Item* item : take_due(now, next)) begin(*item);
  timer_.arm(worker_.loop, std::max(next - now, kShortestTick));
}

// The items whose check begins now, those first that have waited longest. `next` is lowered to the
// time of the next one.
std::vector<HealthMonitor::Item*> HealthMonitor::take_due(uint64_t now, uint64_t& next) {
  std::vector<std::pair<uint64_t, Item*>> due;
  std::vector<Item*> taken;
  size_t room = std::max<size_t>(worker_.connection_limit / 4, kLeastAtOnce);
  bool full = false;
  {
    const PeerSet::Guard guard(*peers_);
    for (Item& item : items_) {
      HealthState* state = state_of(item);
      full |= state == nullptr;
      if (item.under_way) {
        room -= room > 0;
      } else if (state && state->due > now) {
        next = std::min(next, state->due);
      } else if (state) {
        due.emplace_back(state->due, &item);
      }
    }
    if (due.size() > room) {
      // The others begin when one of these is over.
      std::sort(due.begin(), due.end());
      due.resize(room);
    }
    for (const auto& [since, item] : due) {
      // Should this worker die over it, another one tries then.
      state_of(*item)->due = now + cluster_.checks[item->check]->policy.interval_milliseconds;
      taken.push_back(item);
    }
  }
  if (full) tell_full();
  return taken;
}

void HealthMonitor::tell_full() {
  if (std::exchange(told_full_, true) || !runtime_.log) return;
  runtime_.log(Severity::error, "zone \"" + cluster_.zone->request.name +
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
    PeerSet::Guard guard(*peers_);
    HealthState* state = state_of(*item);
    // What was asked long ago, by a worker that was stopped since, does not count any more.
    if (state && guard.take_lease(own_process(), now, kLeaseMilliseconds)) {
      if (result != ProbeResult::unknown) {
        change = note_check(*state, policy, result == ProbeResult::passed);
      }
      if (change == HealthChange::became_healthy) PeerSet::recovered(peer_of(*item), now);
      due = state->due = next_check(policy, now, chance_());
    }
  }
  if (change == HealthChange::became_unhealthy) prober.log(Severity::warn, "peer is unhealthy");
  if (change == HealthChange::became_healthy) prober.log(Severity::notice, "peer is healthy");
  // Others may have waited for this one's end.
  uint64_t wait = kShortestTick;
  if (items_.size() <= kLeastAtOnce) wait = std::max(due - now, kShortestTick);
  if (!timer_.armed() || timer_.deadline() > now + wait) timer_.arm(worker_.loop, wait);
}

}  // namespace weir::upstream
