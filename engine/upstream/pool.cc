#include "engine/upstream/pool.h"

namespace weir::upstream {

PooledConnection::PooledConnection() : idle_timer_(&PooledConnection::timed_out, this) {}

PooledConnection::~PooledConnection() {
  if (pool_) static_cast<void>(pool_->remove(*this).release());
}

void PooledConnection::leave_pool() {
  if (pool_) static_cast<void>(pool_->remove(*this).release());
  delete this;
}

void PooledConnection::timed_out(void* self) {
  static_cast<PooledConnection*>(self)->leave_pool();
}

Pool::~Pool() {
  clear_idle();
  while (busy_.newest) remove(*busy_.newest);
  while (shared_.newest) remove(*shared_.newest);
}

void Pool::link(List& list, PooledConnection& connection) {
  connection.pool_ = this;
  connection.list_ = &list;
  connection.older_ = list.newest;
  connection.newer_ = nullptr;
  (list.newest ? list.newest->newer_ : list.oldest) = &connection;
  list.newest = &connection;
  ++list.size;
}

void Pool::unlink(PooledConnection& connection) {
  List& list = *connection.list_;
  (connection.newer_ ? connection.newer_->older_ : list.newest) = connection.older_;
  (connection.older_ ? connection.older_->newer_ : list.oldest) = connection.newer_;
  connection.newer_ = connection.older_ = nullptr;
  --list.size;
}

bool Pool::used_up(const KeepalivePolicy& policy, const PooledConnection& connection,
                   uint64_t now) {
  return connection.uses >= policy.requests ||
         now - connection.opened_at > policy.time_milliseconds;
}

PooledConnection& Pool::add(std::unique_ptr<PooledConnection> connection) {
  PooledConnection& added = *connection.release();
  link(added.shareable ? shared_ : busy_, added);
  return added;
}

PooledConnection* Pool::take(const KeepalivePolicy& policy, const net::Address& address,
                             std::string_view traits) {
  const auto fits = [&](const PooledConnection& connection) {
    return connection.address == address && connection.traits == traits;
  };
  for (PooledConnection* at = shared_.newest; at; at = at->older_) {
    if (fits(*at) && at->has_room() && !used_up(policy, *at, loop_.now())) return at;
  }
  for (PooledConnection* at = idle_.newest; at; at = at->older_) {
    if (!fits(*at)) continue;
    unlink(*at);
    at->idle_timer_.cancel();
    link(at->shareable ? shared_ : busy_, *at);
    return at;
  }
  return nullptr;
}

void Pool::give(const KeepalivePolicy& policy, PooledConnection& connection) {
  if (!policy.enabled || policy.connections == 0 || used_up(policy, connection, loop_.now())) {
    remove(connection);
    return;
  }
  while (idle_.size >= policy.connections) remove(*idle_.oldest);
  unlink(connection);
  link(idle_, connection);
  if (policy.timeout_milliseconds) {
    connection.idle_timer_.arm(loop_, policy.timeout_milliseconds);
  }
}

std::unique_ptr<PooledConnection> Pool::remove(PooledConnection& connection) {
  unlink(connection);
  connection.pool_ = nullptr;
  connection.list_ = nullptr;
  connection.idle_timer_.cancel();
  return std::unique_ptr<PooledConnection>(&connection);
}

void Pool::clear_idle() {
  while (idle_.newest) remove(*idle_.newest);
}

}  // namespace weir::upstream
