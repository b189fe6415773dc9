#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/async/event.h"
#include "engine/http/codec.h"
#include "engine/upstream/cluster.h"

namespace weir {
struct Worker;
}

namespace weir::upstream {

class PeerSet;  // run-time state of one cluster: current weights, failures, open connections

// Which peers an exchange has tried, and what the balancer says next. One per request that goes
// upstream; knows no HTTP.
class Selection {
 public:
  // A peer to try, or null: no live upstreams (nginx: "no live upstreams while connecting to
  // upstream").
  struct Peer {
    net::Address address;
    std::string_view text;  // "127.0.0.1:8080", for $upstream_addr
    void* state = nullptr;
  };
  virtual ~Selection() = default;
  virtual const Peer* next() = 0;
  // Ends the use of the peer given by next(): success or failure of the attempt (max_fails).
  enum class Result : uint8_t { ok, failed, released };
  virtual void finish(Result result) = 0;
  virtual uint32_t tries_left() const = 0;
};

// Everything of a worker that changes while serving and outlives generations: peers' weights and
// failures, pools of idle connections. Keyed by value: cluster name and server address; a pooled
// connection by all that made it.
class Runtime {
 public:
  explicit Runtime(Worker& worker);
  ~Runtime();
  // State is found again by cluster name and peer address after a reload; gone peers are dropped
  // when their last user goes. `key` for hash balancers, empty here.
  std::unique_ptr<Selection> select(const Cluster& cluster);
  // Closes idle pooled connections (drain).
  void close_idle();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace weir::upstream
