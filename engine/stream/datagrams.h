#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "confparse/ref.h"
#include "engine/event/deferred.h"
#include "engine/event/watcher.h"
#include "engine/net/address.h"
#include "engine/net/listener.h"

namespace weir::stream {

class Sessions;

// A datagram socket that listens: sorts what comes by client (its address and the address it sent
// to) into sessions, and sends their answers. Received in batches by recvmmsg, answers of one round
// of the loop leave together by sendmmsg.
//
// Counted: its clients hold on to it, and it goes with the last of them. Does not own the
// descriptor.
class DatagramListener final : public RefCounted {
 public:
  DatagramListener(Sessions& sessions, const net::ListenOptions& options, size_t resource);
  ~DatagramListener();

  // 0 or an errno.
  int open(int descriptor);
  // After a change of configuration: its index in Resources::listeners.
  void set_resource(size_t resource) { resource_ = resource; }
  // Before the descriptor is closed: nothing comes or goes any more, and its sessions end.
  void close();
  size_t clients() const { return clients_.size(); }

 private:
  class Client;
  struct Key {
    const net::Address& peer;
    const net::Address& local;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Client* client) const;
    size_t operator()(const Key& key) const;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Client* a, const Client* b) const { return a == b; }
    bool operator()(const Key& key, const Client* client) const;
    bool operator()(const Client* client, const Key& key) const { return (*this)(key, client); }
  };
  struct Output;

  static void readable(void* self, uint32_t);
  static void flush_later(void* self);
  void receive();
  void take(const net::Address& peer, const net::Address& local, std::string_view datagram);
  void send(const Client& client, const char* data, size_t size);
  void flush();

  Sessions& sessions_;
  net::ListenOptions options_;
  size_t resource_;
  bool tells_local_;  // a wildcard: the address that was sent to comes with each datagram
  int descriptor_ = -1;
  int64_t complained_at_ = 0;
  Watcher watcher_;
  Deferred flush_;
  std::unique_ptr<Output> output_;
  std::unordered_set<Client*, Hash, Equal> clients_;
};

}  // namespace weir::stream
