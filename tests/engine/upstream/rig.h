#pragma once

#include <string>

#include "engine/upstream/round_robin.h"
#include "engine/upstream/sticky.h"

namespace weir::upstream {

// A group of servers on 127.0.0.1:9001 and so on, and a clock that the test turns.
struct Rig {
  Cluster cluster;
  Ref<PeerSet> peers;
  uint64_t milliseconds = 1'000'000;

  explicit Rig(size_t count, Method method = Method::round_robin) {
    cluster.name = "backend";
    cluster.method = method;
    for (size_t i = 0; i < count; ++i) {
      Server server;
      server.name = "127.0.0.1:" + std::to_string(9001 + i);
      server.addresses.push_back(*net::Address::parse(server.name));
      cluster.servers.push_back(server);
    }
  }
  void build() { peers = make_ref<PeerSet>(cluster, peers.get()); }
  BalancerClock clock() {
    BalancerClock turned;
    turned.seconds = [](void* rig) {
      return static_cast<int64_t>(static_cast<Rig*>(rig)->milliseconds / 1000);
    };
    turned.milliseconds = [](void* rig) { return static_cast<Rig*>(rig)->milliseconds; };
    turned.of = this;
    return turned;
  }
  std::unique_ptr<Selection> select(const Subject& subject = {}) {
    if (!peers) build();
    return make_selection(peers, cluster, subject, clock());
  }
  static char digit(const Selection::Peer* peer) {
    return peer ? static_cast<char>('1' + peer->address.port() - 9001) : '-';
  }
  // One exchange that goes well.
  char one(const Subject& subject = {}) {
    const auto selection = select(subject);
    const char chosen = digit(selection->next());
    selection->finish(Selection::Result::ok);
    return chosen;
  }
  std::string many(size_t count) {
    std::string all;
    while (all.size() < count) all += one();
    return all;
  }
};

}  // namespace weir::upstream
