#include "engine/upstream/runtime.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "engine/upstream/following.h"
#include "engine/upstream/health_monitor.h"
#include "engine/upstream/pool.h"
#include "engine/upstream/queue.h"
#include "engine/upstream/resolver.h"
#include "engine/upstream/round_robin.h"
#include "engine/worker.h"

namespace weir::upstream {
namespace {

int64_t loop_seconds(void* loop) {
  return static_cast<Loop*>(loop)->wall_milliseconds() / 1000;
}

uint64_t loop_milliseconds(void* loop) {
  return static_cast<Loop*>(loop)->now();
}

}  // namespace

struct Runtime::Implementation {
  explicit Implementation(Worker& worker) : worker(worker), single_use(worker.loop) {}
  // What is kept for a cluster's name.
  struct Entry {
    Ref<PeerSet> peers;
    uint64_t peers_version = 0;  // of `following` that they were made from
    std::unique_ptr<FollowedCluster> following;
    std::vector<Server> named;  // servers of the configuration in force whose names were found
    std::unique_ptr<Pool> pool;
    Ref<Queue> queue;
  };
  // Entries stay for good, so a cluster's number finds its own again without the name.
  Entry& entry(const Cluster& cluster) {
    Known& known = recent[cluster.id % recent.size()];
    if (known.cluster_id != cluster.id)
      known = {cluster.id, &entries[(cluster.is_stream ? "stream " : "") + cluster.name]};
    return *known.entry;
  }
  struct Known {
    uint64_t cluster_id = 0;
    Entry* entry = nullptr;
  };
  std::array<Known, 64> recent{};
  Worker& worker;
  Pool single_use;
  std::unordered_map<std::string, std::unique_ptr<Resolver>> resolvers;
  std::unordered_map<std::string, Entry> entries;        // follow names by the resolvers
  std::vector<std::unique_ptr<HealthMonitor>> monitors;  // use all the others
  bool closing = false;
};

Runtime::Runtime(Worker& worker) : implementation_(std::make_unique<Implementation>(worker)) {}

Runtime::~Runtime() = default;

Ref<PeerSet> Runtime::peers(const Cluster& cluster) {
  Implementation::Entry& entry = implementation_->entry(cluster);
  const uint64_t version = entry.following ? entry.following->version() : 0;
  if (!entry.peers || entry.peers->cluster_id() != cluster.id || entry.peers_version != version) {
    // A reload, a request that began before one, or other addresses: the states are shared always.
    const PeerSet* before = entry.peers.get();
    entry.peers = entry.following ? make_ref<PeerSet>(entry.following->filled(cluster), before)
                                  : make_ref<PeerSet>(cluster, before);
    entry.peers_version = version;
    if (cluster.queue.limit) entry.peers->queue = Ref<Queue>(&queue(cluster));
  }
  return entry.peers;
}

std::unique_ptr<Selection> Runtime::select(const Cluster& cluster, const Subject& subject) {
  BalancerClock clock;
  clock.seconds = loop_seconds;
  clock.milliseconds = loop_milliseconds;
  clock.of = &implementation_->worker.loop;
  return make_selection(peers(cluster), cluster, subject, clock);
}

Queue& Runtime::queue(const Cluster& cluster) {
  Implementation::Entry& entry = implementation_->entry(cluster);
  if (!entry.queue) entry.queue = make_ref<Queue>(implementation_->worker.loop);
  return *entry.queue;
}

namespace {

// In the log of the configuration in force.
void tell(void* of, Severity severity, const std::string& text) {
  const auto& runtime = *static_cast<Runtime*>(of);
  if (runtime.log) runtime.log(severity, text);
}

std::vector<Server> named_servers(const Cluster& cluster) {
  std::vector<Server> named;
  for (const Server& server : cluster.servers) {
    if (!server.host.empty() && !server.addresses.empty()) named.push_back(server);
  }
  return named;
}

}  // namespace

void Runtime::follow(const std::vector<const Cluster*>& clusters) {
  Worker& worker = implementation_->worker;
  std::vector<const Implementation::Entry*> used;
  for (const Cluster* cluster : clusters) {
    bool resolve = false, unresolved = false;
    for (const Server& server : cluster->servers) {
      resolve = resolve || server.resolve;
      unresolved = unresolved || server.unresolved;
    }
    std::vector<Server> named = named_servers(*cluster);
    if (!resolve && !unresolved && named.empty()) continue;
    Implementation::Entry& entry = implementation_->entry(*cluster);
    if (resolve || unresolved) {
      if (!entry.following) {
        entry.following = std::make_unique<FollowedCluster>(worker.loop, tell, this);
      }
      entry.following->use(*cluster, resolve ? &resolver(cluster->resolver) : nullptr,
                           unresolved ? &resolver({Resolver::kAsTheSystem}) : nullptr, entry.named);
      used.push_back(&entry);
    }
    entry.named = std::move(named);
  }
  for (auto& [name, entry] : implementation_->entries) {
    if (std::find(used.begin(), used.end(), &entry) == used.end()) entry.following.reset();
  }
}

void Runtime::check(const Ref<Generation>& generation,
                    const std::vector<const Cluster*>& clusters) {
  implementation_->monitors.clear();
  if (implementation_->closing) return;
  for (const Cluster* cluster : clusters) {
    if (cluster->checks.empty()) continue;
    implementation_->monitors.push_back(
        std::make_unique<HealthMonitor>(implementation_->worker, *this, generation, *cluster));
  }
}

std::unique_ptr<Selection> Runtime::select_once(const Cluster& cluster) {
  return make_round_robin(make_ref<PeerSet>(cluster, nullptr), loop_seconds,
                          &implementation_->worker.loop);
}

PooledConnection* Runtime::take(const Cluster& cluster, const net::Address& address,
                                std::string_view traits) {
  Implementation::Entry& entry = implementation_->entry(cluster);
  return entry.pool ? entry.pool->take(cluster.keepalive, address, traits) : nullptr;
}

PooledConnection& Runtime::add(const Cluster& cluster, std::unique_ptr<PooledConnection> connection,
                               bool kept) {
  if (!kept) return implementation_->single_use.add(std::move(connection));
  Implementation::Entry& entry = implementation_->entry(cluster);
  if (!entry.pool) entry.pool = std::make_unique<Pool>(implementation_->worker.loop);
  return entry.pool->add(std::move(connection));
}

void Runtime::give(const Cluster& cluster, PooledConnection& connection) {
  if (implementation_->closing) {
    remove(connection);
  } else {
    connection.pool_->give(cluster.keepalive, connection);
  }
}

std::unique_ptr<PooledConnection> Runtime::remove(PooledConnection& connection) {
  return connection.pool_->remove(connection);
}

Resolver& Runtime::resolver(const std::vector<std::string>& words) {
  std::string key;
  for (const std::string& word : words) key += word + " ";
  auto& resolver = implementation_->resolvers[key];
  if (!resolver) resolver = std::make_unique<Resolver>(implementation_->worker.loop, words);
  return *resolver;
}

size_t Runtime::idle_connections() const {
  size_t count = 0;
  for (const auto& [name, entry] : implementation_->entries) {
    if (entry.pool) count += entry.pool->idle();
  }
  return count;
}

void Runtime::close_idle() {
  implementation_->closing = true;
  implementation_->monitors.clear();
  for (auto& [name, entry] : implementation_->entries) {
    if (entry.pool) entry.pool->clear_idle();
  }
}

}  // namespace weir::upstream
