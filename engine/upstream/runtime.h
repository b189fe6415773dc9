#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/ref.h"
#include "engine/base/md5.h"
#include "engine/event/timer.h"
#include "engine/log/severity.h"
#include "engine/upstream/cluster.h"

namespace weir {
class Generation;
struct Worker;
}  // namespace weir

namespace weir::upstream {

// For whom a peer is chosen: what balancers hash.
struct Subject {
  conf::VariableSource* variables = nullptr;  // evaluates `hash KEY`
  const net::Address* client = nullptr;       // ip_hash
  // sticky: the server that the client is bound to, by name, or by the MD5 of it. It is used first.
  std::string_view bound_to;
  const Md5Digest* bound_to_digest = nullptr;
};

// Which peers an exchange has tried, and what the balancer says next. One per request that goes
// upstream; knows no HTTP. Destroying it releases the peer in use.
class Selection {
 public:
  struct Peer {
    net::Address address;
    std::string text;  // "127.0.0.1:8080", for $upstream_addr; lives as long as the Selection
  };
  // By what bound clients know a server.
  struct StickyName {
    std::string text;
    Md5Digest digest;
  };
  virtual ~Selection() = default;
  // A peer to try, or null: no live upstreams (nginx: "no live upstreams while connecting to
  // upstream").
  virtual const Peer* next() = 0;
  // Ends the use of the peer given by next(). failed counts against max_fails; ok clears failures;
  // released does neither (an answer such as 404 that only moves on). True: this failure made the
  // server unavailable for fail_timeout ("upstream server temporarily disabled").
  enum class Result : uint8_t { ok, failed, released };
  virtual bool finish(Result result) = 0;
  // Before finish(ok): how long the head (or a session's connect or first byte) and all of the
  // answer took. For least_time.
  virtual void note_times(uint64_t header_milliseconds, uint64_t last_byte_milliseconds) {
    (void)header_milliseconds;
    (void)last_byte_milliseconds;
  }
  // Attempts left, the one in use included.
  virtual uint32_t tries_left() const = 0;
  virtual void limit_tries(uint32_t limit) = 0;
  // A pooled connection turned out to be closed: that attempt was not one, and this peer may be
  // tried again.
  virtual void give_try_back() = 0;
  // next() has returned null, and one of the peers would do but for its max_conns.
  virtual bool busy() { return false; }
  // Of the peer in use, where the group is `sticky`; else null. Lives as long as the Selection.
  virtual const StickyName* sticky_name() const { return nullptr; }
  // Before another attempt follows one that failed: does the cluster's `retry_budget` allow it?
  // refused_first: no, and this is the moment to log it.
  enum class Retry : uint8_t { granted, refused, refused_first };
  virtual Retry take_retry() { return Retry::granted; }
};

class PeerSet;
class Pool;
class Queue;
class Resolver;

// A connection to a peer, owned by the pool of its cluster from its beginning to its end: in use by
// one (or, where the protocol has streams, by several at once), or idle. What it is made of
// (socket, codec) is its own affair: idle, it watches its socket and calls leave_pool() when the
// peer closes or says what it should not.
class PooledConnection {
 public:
  PooledConnection();
  PooledConnection(const PooledConnection&) = delete;
  PooledConnection& operator=(const PooledConnection&) = delete;
  virtual ~PooledConnection();

  // Filled by whoever opens the connection: two connections with equal address and traits are
  // interchangeable. Traits say everything else that made it: local address, protocol, TLS and the
  // names it was opened and verified for, settings of the socket, and the location with
  // `keepalive … local`.
  net::Address address;
  std::string traits;
  uint64_t opened_at = 0;  // Loop::now()
  uint32_t uses = 0;
  bool shareable = false;  // several may use it at once; set before the pool has it

  // Shareable ones: may one more use it now?
  virtual bool has_room() const { return false; }

 protected:
  // Takes itself out of its pool and is destroyed. Touch nothing afterwards.
  void leave_pool();

 private:
  friend class Pool;
  struct List {
    PooledConnection* newest = nullptr;
    PooledConnection* oldest = nullptr;
    size_t size = 0;
  };
  friend class Runtime;
  static void timed_out(void* self);
  Pool* pool_ = nullptr;
  List* list_ = nullptr;
  PooledConnection* newer_ = nullptr;
  PooledConnection* older_ = nullptr;
  Timer idle_timer_;
};

// Everything of a worker that changes while serving and outlives generations: peers' weights and
// failures, pools of idle connections. Keyed by value: cluster name and server address; a pooled
// connection by all that made it.
class Runtime {
 public:
  // Keeps the reference for later; `worker` need not be complete yet.
  explicit Runtime(Worker& worker);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // State is found again by cluster name and peer address after a reload; gone peers are dropped
  // when their last user goes. `subject` is asked now; neither it nor `cluster` has to outlive the
  // selection.
  std::unique_ptr<Selection> select(const Cluster& cluster, const Subject& subject = {});

  // Where requests wait for a server of this cluster.
  Queue& queue(const Cluster& cluster);

  // Before a configuration with these clusters is in force: follows the names of their servers
  // with `resolve`, and those that were not found, so that requests find their addresses; and no
  // others from now on.
  void follow(const std::vector<const Cluster*>& clusters);
  // From now on the health checks of these clusters are done (or another worker watched while it
  // does them), and no others. The clusters are the generation's.
  void check(const Ref<Generation>& generation, const std::vector<const Cluster*>& clusters);
  // The peers of a cluster of the generation in force, as they are known now.
  Ref<PeerSet> peers(const Cluster& cluster);
  // Lines about names.
  std::function<void(Severity severity, const std::string& text)> log;

  // For a group made for one request (resolved at run time): nothing is remembered.
  std::unique_ptr<Selection> select_once(const Cluster& cluster);

  // A connection that fits: one in use with room for more, or the idle one used last. Null: none.
  PooledConnection* take(const Cluster& cluster, const net::Address& address,
                         std::string_view traits);
  // Takes over a new connection, in use. `kept` false: no pool's; nobody else will get it.
  PooledConnection& add(const Cluster& cluster, std::unique_ptr<PooledConnection> connection,
                        bool kept);
  // Nobody uses it any more: keeps it idle, unless policy or age forbid; the oldest goes when there
  // are too many. It may be gone afterwards. Only for those added with `kept`.
  void give(const Cluster& cluster, PooledConnection& connection);
  // Takes it out of its pool, to be destroyed or handed on.
  std::unique_ptr<PooledConnection> remove(PooledConnection& connection);
  // The resolver for the words of a `resolver` directive; made at first use, with its memory of
  // names.
  Resolver& resolver(const std::vector<std::string>& words);
  size_t idle_connections() const;
  // Closes idle pooled connections, and keeps none from now on; leaves health checks to others
  // (drain).
  void close_idle();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace weir::upstream
