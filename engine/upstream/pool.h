#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/event/loop.h"
#include "engine/upstream/runtime.h"

namespace weir::upstream {

// Idle connections of one cluster, newest first. At most KeepalivePolicy::connections of them; the
// one that was idle longest makes room.
class Pool {
 public:
  explicit Pool(Loop& loop) : loop_(loop) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() { clear(); }

  std::unique_ptr<PooledConnection> take(const net::Address& address, std::string_view traits);
  void give(const KeepalivePolicy& policy, std::unique_ptr<PooledConnection> connection);
  // Unlinks without destroying.
  void remove(PooledConnection& connection);
  void clear();
  size_t size() const { return size_; }

 private:
  Loop& loop_;
  PooledConnection* newest_ = nullptr;
  PooledConnection* oldest_ = nullptr;
  size_t size_ = 0;
};

}  // namespace weir::upstream
