#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/event/loop.h"
#include "engine/upstream/runtime.h"

namespace weir::upstream {

// The connections to the peers of one cluster; owns them, whatever they do. Idle ones: newest
// first, at most KeepalivePolicy::connections; the one that was idle longest makes room.
class Pool {
 public:
  explicit Pool(Loop& loop) : loop_(loop) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // Takes over a connection that is in use.
  PooledConnection& add(std::unique_ptr<PooledConnection> connection);
  // One that fits: in use and with room for more, or else an idle one, which is in use from now on.
  PooledConnection* take(const KeepalivePolicy& policy, const net::Address& address,
                         std::string_view traits);
  // Nobody uses it any more: it waits, unless policy or age forbid (then it is destroyed).
  void give(const KeepalivePolicy& policy, PooledConnection& connection);
  // Takes it out.
  std::unique_ptr<PooledConnection> remove(PooledConnection& connection);
  // Destroys the idle ones.
  void clear_idle();
  size_t idle() const { return idle_.size; }
  size_t in_use() const { return busy_.size + shared_.size; }

 private:
  using List = PooledConnection::List;
  void link(List& list, PooledConnection& connection);
  void unlink(PooledConnection& connection);
  static bool used_up(const KeepalivePolicy& policy, const PooledConnection& connection,
                      uint64_t now);

  Loop& loop_;
  List idle_, busy_;
  List shared_;  // in use, and may have room for more
};

}  // namespace weir::upstream
