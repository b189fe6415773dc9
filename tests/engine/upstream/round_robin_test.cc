#include "engine/upstream/round_robin.h"

#include <catch2/catch.hpp>
#include <string>

using namespace weir;
using namespace weir::upstream;

namespace {

net::Address peer_address(uint16_t port) {
  return *net::Address::parse_host("127.0.0.1", port);
}

Server make_server(uint16_t port, uint32_t weight = 1) {
  Server server;
  server.addresses.push_back(peer_address(port));
  server.weight = weight;
  return server;
}

int64_t read_clock(void* clock) {
  return *static_cast<int64_t*>(clock);
}

struct Fixture {
  Cluster cluster;
  Ref<PeerSet> peers;
  int64_t clock = 1000;

  void build() { peers = make_ref<PeerSet>(cluster, peers.get()); }
  std::unique_ptr<Selection> select() { return make_round_robin(peers, read_clock, &clock); }

  // One request that succeeds at once: the last digit of its port.
  char one() {
    auto selection = select();
    const Selection::Peer* peer = selection->next();
    if (!peer) return '-';
    const char digit = peer->text.back();
    selection->finish(Selection::Result::ok);
    return digit;
  }
  std::string several(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += one();
    return all;
  }
};

}  // namespace

TEST_CASE("smooth weighted round robin gives nginx's sequence", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001, 5), make_server(8002), make_server(8003)};
  f.build();
  CHECK(f.several(14) == "11213111121311");
}

TEST_CASE("equal weights take turns", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002), make_server(8003)};
  f.build();
  CHECK(f.several(7) == "1231231");
}

TEST_CASE("a name with several addresses is several peers", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8003)};
  f.cluster.servers[0].addresses.push_back(peer_address(8002));
  f.build();
  CHECK(f.several(6) == "123123");
  CHECK(f.select()->tries_left() == 3);
}

TEST_CASE("a failed peer is left out for fail_timeout and then tried once", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.build();
  {
    auto selection = f.select();
    REQUIRE(selection->next()->text.back() == '1');
    CHECK(selection->finish(Selection::Result::failed));
    CHECK(selection->tries_left() == 1);
    REQUIRE(selection->next()->text.back() == '2');
    CHECK_FALSE(selection->finish(Selection::Result::ok));
  }
  CHECK(f.several(4) == "2222");
  f.clock += 10;
  CHECK(f.several(2) == "22");
  f.clock += 1;
  // Its effective weight went down to 0 and recovers by one with each choice.
  const std::string after = f.several(6);
  CHECK(after.find('1') != std::string::npos);
}

TEST_CASE("after fail_timeout only one request tries the server until it has answered",
          "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.build();
  {
    auto selection = f.select();
    REQUIRE(selection->next()->text.back() == '1');
    selection->finish(Selection::Result::failed);
  }
  f.clock += 11;
  std::unique_ptr<Selection> probe;
  for (int i = 0; i < 4; ++i) {
    probe = f.select();
    if (probe->next()->text.back() == '1') break;
    probe->finish(Selection::Result::ok);
  }
  // While the probe is under way nobody else goes there.
  CHECK(f.several(4) == "2222");
  probe->finish(Selection::Result::ok);
  CHECK(f.several(4).find('1') != std::string::npos);
}

TEST_CASE("a single peer is never marked failed", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001)};
  f.build();
  for (int i = 0; i < 3; ++i) {
    auto selection = f.select();
    REQUIRE(selection->next());
    CHECK_FALSE(selection->finish(Selection::Result::failed));
    CHECK(selection->tries_left() == 0);
  }
}

TEST_CASE("backup servers serve when the others cannot", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002), make_server(8003)};
  f.cluster.servers[1].backup = f.cluster.servers[2].backup = true;
  f.build();
  CHECK(f.several(3) == "111");
  auto selection = f.select();
  CHECK(selection->tries_left() == 3);
  REQUIRE(selection->next()->text.back() == '1');
  selection->finish(Selection::Result::failed);
  REQUIRE(selection->next()->text.back() == '2');
  selection->finish(Selection::Result::failed);
  REQUIRE(selection->next()->text.back() == '3');
  selection->finish(Selection::Result::ok);
  CHECK(f.several(3) == "333");
}

TEST_CASE("all failed: nobody until fail_timeout has passed", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.build();
  auto selection = f.select();
  for (int i = 0; i < 2; ++i) {
    REQUIRE(selection->next());
    selection->finish(Selection::Result::failed);
  }
  CHECK(selection->next() == nullptr);
  CHECK(f.several(3) == "---");
  f.clock += 11;
  CHECK(f.several(2) != "--");
}

TEST_CASE("max_conns bounds the requests under way", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.cluster.servers[0].max_connections = 1;
  f.cluster.servers[1].max_connections = 1;
  f.build();
  auto first = f.select();
  auto second = f.select();
  auto third = f.select();
  REQUIRE(first->next());
  REQUIRE(second->next());
  CHECK(third->next() == nullptr);
  first.reset();  // destroying releases
  CHECK(f.one() == '1');
}

TEST_CASE("down servers get nothing and do not count as tries", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.cluster.servers[0].down = true;
  f.build();
  CHECK(f.several(3) == "222");
  CHECK(f.select()->tries_left() == 1);
}

TEST_CASE("states outlive a new configuration of the same cluster", "[upstream]") {
  Fixture f;
  f.cluster.servers = {make_server(8001), make_server(8002)};
  f.build();
  {
    auto selection = f.select();
    REQUIRE(selection->next()->text.back() == '1');
    selection->finish(Selection::Result::failed);
  }
  Cluster next = f.cluster;
  next.id = next_cluster_id();
  next.servers.push_back(make_server(8003));
  f.cluster = next;
  f.build();
  const std::string after = f.several(6);
  CHECK(after.find('1') == std::string::npos);
  CHECK(after.find('3') != std::string::npos);
}
