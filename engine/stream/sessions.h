#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "engine/net/address.h"

namespace weir {
class Generation;
struct Worker;
}  // namespace weir

namespace weir::net {
struct PassedConnection;
}

namespace weir::stream {

class DatagramClient;
class Session;

// The stream sessions of one worker. Made after the fork with the Worker, destroyed before it.
class Sessions {
 public:
  explicit Sessions(Worker& worker) : worker_(worker) {}
  ~Sessions();  // closes all
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // A connection accepted (non-blocking, close-on-exec) on resource `resource` of the current
  // generation. Takes the descriptor in any case.
  void accept(int descriptor, const net::Address& peer, size_t resource);
  // One that another listener passes on.
  void accept(net::PassedConnection& connection, size_t resource);
  // The first datagram of a client. Null: nothing came of it. The session is in its phases, or
  // beyond; `client` outlives it.
  Session* accept_datagram(DatagramClient& client, const net::Address& peer,
                           const net::Address& local, size_t resource);
  // On the way out: sessions of connections go on to their end, those of datagrams end.
  void drain();
  // Ends all now, each with its log line.
  void close_all();
  // A new configuration is in force.
  void generation_changed();
  size_t count() const { return count_; }
  Worker& worker() { return worker_; }
  // For each session, in no order; it may not add or remove any.
  void for_each(const std::function<void(Session&)>& visit);

 private:
  friend class Session;
  void add(Session& session);
  void remove(Session& session);
  Worker& worker_;
  Session* first_ = nullptr;
  size_t count_ = 0;
};

}  // namespace weir::stream
