#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "confparse/template.h"
#include "confparse/world.h"
#include "engine/net/address.h"
#include "engine/upstream/retry_budget.h"
#include "engine/zone/zone.h"

namespace weir::upstream {

struct StickyPolicy;

// One `server` line of an upstream block, or the host of a proxy_pass. A name with several
// addresses is one Server with several of them; each address is a peer to the balancer.
struct Server {
  std::string name;                     // as written, for messages
  std::vector<net::Address> addresses;  // resolved while compiling
  uint64_t weight = 1;                  // of a compiled configuration: at most INT32_MAX
  uint32_t max_connections = 0;         // 0: no limit
  uint32_t max_fails = 1;
  uint64_t fail_timeout_milliseconds = 10000;
  bool backup = false;
  bool down = false;
  // After an outage the weight comes back within this time.
  uint64_t slow_start_milliseconds = 0;
  bool drain = false;  // serves none but those that are bound to it
  // By which bound clients know it; empty: the MD5 of the address.
  std::string route;
  // `resolve`: the addresses of `host` are followed while they change; `addresses` is empty.
  bool resolve = false;
  std::string service;  // with `resolve`: its SRV records are followed
  // Not found when the configuration was read, which went on: it is asked for until it is found.
  bool unresolved = false;
  std::string host;  // of a name; of an address empty
  uint16_t port = 0;
};

class HealthCheck;

enum class Method : uint8_t {
  round_robin,
  hash,
  consistent_hash,
  ip_hash,
  least_connections,
  least_time,
  random,
};

// What a method was told besides.
struct Balancing {
  enum class Time : uint8_t { none, header, last_byte };
  conf::Template key;      // hash
  Time time = Time::none;  // least_time
  bool connect = false;    // header is how long connecting took (stream)
  bool in_flight = false;  // requests under way count with their time
  bool two = false;        // random
};

struct KeepalivePolicy {
  bool enabled = true;
  bool local = true;  // connections are not shared between locations
  uint32_t connections = 32;
  uint64_t requests = 1000;
  uint64_t time_milliseconds = 3600000;
  uint64_t timeout_milliseconds = 60000;
};

// Where requests wait when all servers have reached their max_conns.
struct QueuePolicy {
  uint32_t limit = 0;  // requests of a worker; 0: none waits
  uint64_t timeout_milliseconds = 60000;
};

// Tells clusters of different generations apart, whatever their addresses in memory. Atomic because
// configurations are compiled on a helper thread.
inline uint64_t next_cluster_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

// A group of servers, from an upstream block or implied by a proxy_pass with a host. Part of the
// generation: const after compile.
struct Cluster {
  uint64_t id = next_cluster_id();  // grows with the generations
  std::string name;                 // "backend"; "example.com:8080" when implied
  std::string host;                 // as messages name it, without port
  bool implied = false;
  bool is_stream = false;  // of the stream block: shares no state with http's of the same name
  uint16_t default_port = 0;
  std::vector<Server> servers;
  Method method = Method::round_robin;
  Balancing balancing;
  std::shared_ptr<const StickyPolicy> sticky;  // null: clients are not bound to servers
  std::shared_ptr<zone::Zone> zone;            // null: every worker for itself
  // Who is asked for servers with `resolve`: the words of the directive.
  std::vector<std::string> resolver;
  int64_t resolver_timeout = -1;  // milliseconds; -1 while reading: that of the block around
  KeepalivePolicy keepalive;
  // Active health checks; with a zone only.
  std::vector<std::shared_ptr<const HealthCheck>> checks;
  uint64_t generation = 0;  // number of the generation that it is part of
  QueuePolicy queue;
  RetryBudget retry_budget;
};

}  // namespace weir::upstream
