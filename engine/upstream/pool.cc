#include "engine/upstream/pool.h"

namespace weir::upstream {

PooledConnection::PooledConnection() : idle_timer_(&PooledConnection::timed_out, this) {}

PooledConnection::~PooledConnection() {
  if (pool_) pool_->remove(*this);
}

void PooledConnection::leave_pool() {
  if (!pool_) return;
  pool_->remove(*this);
  delete this;
}

void PooledConnection::timed_out(void* self) {
  static_cast<PooledConnection*>(self)->leave_pool();
}

std::unique_ptr<PooledConnection> Pool::take(const net::Address& address, std::string_view traits) {
  for (PooledConnection* at = newest_; at; at = at->older_) {
    if (!(at->address == address) || at->traits != traits) continue;
    remove(*at);
    return std::unique_ptr<PooledConnection>(at);
  }
  return nullptr;
}

void Pool::give(const KeepalivePolicy& policy, std::unique_ptr<PooledConnection> connection) {
  if (!policy.enabled || policy.connections == 0 || connection->uses >= policy.requests ||
      loop_.now() - connection->opened_at > policy.time_milliseconds) {
    return;
  }
  while (size_ >= policy.connections) {
    std::unique_ptr<PooledConnection> evicted(oldest_);
    remove(*evicted);
  }
  PooledConnection* added = connection.release();
  added->pool_ = this;
  added->older_ = newest_;
  added->newer_ = nullptr;
  (newest_ ? newest_->newer_ : oldest_) = added;
  newest_ = added;
  ++size_;
  if (policy.timeout_milliseconds) added->idle_timer_.arm(loop_, policy.timeout_milliseconds);
}

void Pool::remove(PooledConnection& connection) {
  (connection.newer_ ? connection.newer_->older_ : newest_) = connection.older_;
  (connection.older_ ? connection.older_->newer_ : oldest_) = connection.newer_;
  connection.newer_ = connection.older_ = nullptr;
  connection.pool_ = nullptr;
  connection.idle_timer_.cancel();
  --size_;
}

void Pool::clear() {
  while (newest_) {
    std::unique_ptr<PooledConnection> connection(newest_);
    remove(*connection);
  }
}

}  // namespace weir::upstream
