#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

#include "confparse/ref.h"
#include "engine/event/deferred.h"
#include "engine/event/watcher.h"
#include "engine/net/address.h"
#include "engine/net/listener.h"
#include "engine/stream/steering.h"

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
  // `steering` outlives it; null: this process has no other workers beside it.
  DatagramListener(Sessions& sessions, Steering* steering, const net::ListenOptions& options,
                   size_t resource);
  ~DatagramListener();

  // 0 or an errno.
  int open(int descriptor);
  // Begins to read; by open(), or by Steering later.
  void start();
  // After a change of configuration: its index in Resources::listeners.
  void set_resource(size_t resource) { resource_ = resource; }
  // Takes what is there, and nothing more from the kernel: other workers pass on what is for the
  // sessions here.
  void stop_receiving();
  // Before the descriptor is closed: nothing comes or goes any more, and its sessions end.
  void close();
  const net::Address& address() const { return options_.address; }

  // --- for Steering
  void for_each_client(const std::function<void(const DatagramKey&)>& visit) const;
  // To the client's session; false: it has none here.
  bool deliver(const DatagramKey& key, std::string_view datagram);
  // A client's first datagram.
  void begin(const DatagramKey& key, std::string_view datagram);

 private:
  class Client;
  using Key = DatagramKey;
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
  bool receive();
  void take(const Key& key, std::string_view datagram);
  void send(const Client& client, const char* data, size_t size);
  void flush();

  Sessions& sessions_;
  Steering* steering_;
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
