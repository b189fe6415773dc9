#include "engine/upstream/runtime.h"

#include <array>
#include <unordered_map>

#include "engine/upstream/pool.h"
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
    std::unique_ptr<Pool> pool;
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
  std::unordered_map<std::string, Entry> entries;
  std::unordered_map<std::string, std::unique_ptr<Resolver>> resolvers;
  bool closing = false;
};

Runtime::Runtime(Worker& worker) : implementation_(std::make_unique<Implementation>(worker)) {}

Runtime::~Runtime() = default;

std::unique_ptr<Selection> Runtime::select(const Cluster& cluster, const Subject& subject) {
  Implementation::Entry& entry = implementation_->entry(cluster);
  if (!entry.peers || entry.peers->cluster_id() != cluster.id) {
    // A reload, or a request that began before one: the states are shared either way.
    entry.peers = make_ref<PeerSet>(cluster, entry.peers.get());
  }
  BalancerClock clock;
  clock.seconds = loop_seconds;
  clock.milliseconds = loop_milliseconds;
  clock.of = &implementation_->worker.loop;
  return make_selection(entry.peers, cluster, subject, clock);
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
  for (auto& [name, entry] : implementation_->entries) {
    if (entry.pool) entry.pool->clear_idle();
  }
}

}  // namespace weir::upstream
