#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <map>
#include <string>

#include "engine/upstream/round_robin.h"
#include "tests/engine/upstream/rig.h"

using namespace weir;
using namespace weir::upstream;

namespace {

int64_t read_seconds(void* clock) {
  return *static_cast<int64_t*>(clock);
}

// Evaluates nothing: keys are literal.
class NoVariables final : public conf::VariableSource {
 public:
  conf::Value variable(conf::VariableId) override { return conf::Value::none(); }
  bool match(const conf::Pattern&, std::string_view) override { return false; }
  char* allocate(size_t) override { return nullptr; }
};

constexpr uint32_t kWeights[] = {1, 2, 3, 1, 5, 1, 1, 2, 1, 4};

struct Fixture {
  Cluster cluster;
  Ref<PeerSet> peers;
  int64_t seconds = 1000;
  NoVariables variables;

  explicit Fixture(Method method, bool weighted = false, bool third_is_down = false) {
    cluster.name = "backend";
    cluster.method = method;
    for (uint16_t i = 0; i < 10; ++i) {
      Server server;
      server.name = "127.0.0.1:" + std::to_string(19751 + i);
      server.addresses.push_back(*net::Address::parse(server.name));
      if (weighted) server.weight = kWeights[i];
      server.down = third_is_down && i == 2;
      cluster.servers.push_back(server);
    }
  }
  void keep(size_t count) { cluster.servers.resize(count); }
  void build() { peers = make_ref<PeerSet>(cluster, peers.get()); }
  std::unique_ptr<Selection> select(const std::string& key = {},
                                    const net::Address* client = nullptr) {
    if (!peers) build();
    cluster.balancing.key = conf::Template::literal(key);
    BalancerClock clock;
    clock.seconds = read_seconds;
    clock.of = &seconds;
    Subject subject;
    subject.variables = &variables;
    subject.client = client;
    return make_selection(peers, cluster, subject, clock);
  }
  static char digit(const Selection::Peer* peer) {
    return peer ? static_cast<char>('0' + peer->address.port() - 19751) : '-';
  }
  char one(const std::string& key, const net::Address* client = nullptr) {
    const auto selection = select(key, client);
    const char chosen = digit(selection->next());
    selection->finish(Selection::Result::ok);
    return chosen;
  }
};

uint32_t checksum(const std::string& text) {
  return static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

std::string choices_by_key(Fixture fixture) {
  std::string all;
  for (int i = 0; i < 5000; ++i) all += fixture.one("key-" + std::to_string(i));
  return all;
}

std::string choices_by_client(Fixture fixture) {
  std::string all;
  char text[64];
  for (int i = 0; i < 5000; ++i) {
    if (i % 5) {
      std::snprintf(text, sizeof text, "%d.%d.%d.%d", i % 223 + 1, i * 7 % 256, i * 13 % 256,
                    i % 250);
    } else {
      std::snprintf(text, sizeof text, "2001:db8:%x::%x", i, i * 3);
    }
    const auto client = net::Address::parse_host(text);
    REQUIRE(client);
    all += fixture.one({}, &*client);
  }
  return all;
}

}  // namespace

// What nginx 1.22 chose for these 5000 keys: the beginning, and the CRC-32 of all.
TEST_CASE("hash chooses as nginx does", "[upstream]") {
  std::string all = choices_by_key(Fixture(Method::hash, true));
  CHECK(all.substr(0, 40) == "2931494496294372487919011172199749047992");
  CHECK(checksum(all) == 0x0c0b873a);
  all = choices_by_key(Fixture(Method::hash));
  CHECK(all.substr(0, 40) == "1072032125383063276361413214569854256129");
  CHECK(checksum(all) == 0xd43c2cd1);
  all = choices_by_key(Fixture(Method::hash, true, true));
  CHECK(all.substr(0, 40) == "8931494496794374487919011177199749047999");
  CHECK(checksum(all) == 0x44ccb3ce);
}

TEST_CASE("consistent hash chooses as nginx does", "[upstream]") {
  std::string all = choices_by_key(Fixture(Method::consistent_hash, true));
  CHECK(all.substr(0, 40) == "6094244444064564453425412324994249442749");
  CHECK(checksum(all) == 0x8fbc4b57);
  all = choices_by_key(Fixture(Method::consistent_hash));
  CHECK(all.substr(0, 40) == "6069203472061567953045411325915485432773");
  CHECK(checksum(all) == 0x5cd72204);
  all = choices_by_key(Fixture(Method::consistent_hash, true, true));
  CHECK(all.substr(0, 40) == "6094744444064564453445411344994449444749");
  CHECK(checksum(all) == 0xc17578e4);
}

TEST_CASE("ip_hash chooses as nginx does", "[upstream]") {
  std::string all = choices_by_client(Fixture(Method::ip_hash, true));
  CHECK(all.substr(0, 40) == "8912249901138998227949901178998467940122");
  CHECK(checksum(all) == 0xf849b50c);
  all = choices_by_client(Fixture(Method::ip_hash));
  CHECK(all.substr(0, 40) == "9345647890922344677894567489019234547456");
  CHECK(checksum(all) == 0x25b9db1b);
  all = choices_by_client(Fixture(Method::ip_hash, true, true));
  CHECK(all.substr(0, 40) == "8917949901138998497949901178998467940149");
  CHECK(checksum(all) == 0x501c3fd3);
}

TEST_CASE("consistent hash: only the share of a failed server moves", "[upstream]") {
  Fixture f(Method::consistent_hash);
  std::map<std::string, char> before;
  for (int i = 0; i < 2000; ++i) {
    const std::string key = "k" + std::to_string(i);
    before[key] = f.one(key);
  }
  {
    auto selection = f.select("k1");
    REQUIRE(selection->next());
    CHECK(selection->finish(Selection::Result::failed));
    CHECK(Fixture::digit(selection->next()) != before["k1"]);
    selection->finish(Selection::Result::ok);
  }
  for (const auto& [key, server] : before) {
    if (server == before["k1"]) {
      CHECK(f.one(key) != server);
    } else {
      CHECK(f.one(key) == server);
    }
  }
  f.seconds += 11;
  for (const auto& [key, server] : before) CHECK(f.one(key) == server);
}

TEST_CASE("hash without a key, or with one server, takes turns", "[upstream]") {
  for (const Method method : {Method::hash, Method::consistent_hash}) {
    Fixture f(method);
    f.keep(3);
    std::string all;
    for (int i = 0; i < 6; ++i) all += f.one("");
    CHECK(all == "012012");
  }
}

TEST_CASE("every balancer ends with no peer when all have failed", "[upstream]") {
  for (const Method method : {Method::hash, Method::consistent_hash, Method::ip_hash,
                              Method::least_connections, Method::least_time, Method::random}) {
    Fixture f(method);
    f.keep(3);
    const auto client = net::Address::parse_host("10.0.0.1");
    auto selection = f.select("key", &*client);
    CHECK(selection->tries_left() == 3);
    std::string seen;
    for (int i = 0; i < 3; ++i) {
      const Selection::Peer* peer = selection->next();
      REQUIRE(peer);
      CHECK(seen.find(Fixture::digit(peer)) == seen.npos);
      seen += Fixture::digit(peer);
      selection->finish(Selection::Result::failed);
    }
    CHECK(selection->next() == nullptr);
  }
}

TEST_CASE("backup servers are used when the others are gone", "[upstream]") {
  for (const Method method : {Method::hash, Method::consistent_hash, Method::ip_hash,
                              Method::least_connections, Method::least_time, Method::random}) {
    Fixture f(method);
    f.keep(3);
    f.cluster.servers[2].backup = true;
    const auto client = net::Address::parse_host("10.0.0.1");
    auto selection = f.select("key", &*client);
    for (int i = 0; i < 2; ++i) {
      CHECK(Fixture::digit(selection->next()) != '2');
      selection->finish(Selection::Result::failed);
    }
    CHECK(Fixture::digit(selection->next()) == '2');
    selection->finish(Selection::Result::ok);
    CHECK(f.one("key", &*client) == '2');
  }
}

TEST_CASE("least_conn: fewest by weight, equal ones take turns", "[upstream]") {
  Fixture f(Method::least_connections);
  f.keep(3);
  f.cluster.servers[0].weight = 2;
  std::vector<std::unique_ptr<Selection>> open;
  std::map<char, int> counts;
  for (int i = 0; i < 8; ++i) {
    open.push_back(f.select());
    ++counts[Fixture::digit(open.back()->next())];
  }
  CHECK(counts['0'] == 4);
  CHECK(counts['1'] == 2);
  CHECK(counts['2'] == 2);
  open.clear();
  std::string all;
  for (int i = 0; i < 8; ++i) all += f.one({});
  CHECK(std::count(all.begin(), all.end(), '0') == 4);
}

TEST_CASE("least_time: the faster server gets more, a slow one is not forgotten", "[upstream]") {
  Fixture f(Method::least_time);
  f.keep(2);
  f.cluster.balancing.time = Balancing::Time::header;
  for (int i = 0; i < 2; ++i) {
    auto selection = f.select();
    const char which = Fixture::digit(selection->next());
    selection->note_times(which == '0' ? 100 : 20, 200);
    selection->finish(Selection::Result::ok);
  }
  // 20 ms times one to five requests is less than 100 ms.
  std::vector<std::unique_ptr<Selection>> open;
  std::string all;
  for (int i = 0; i < 6; ++i) {
    open.push_back(f.select());
    all += Fixture::digit(open.back()->next());
  }
  CHECK(std::count(all.begin(), all.end(), '1') == 5);
}

TEST_CASE("least_time: a server that was slow is tried again, and comes back", "[upstream]") {
  Rig rig(2, Method::least_time);
  rig.cluster.balancing.time = Balancing::Time::header;
  uint64_t first_takes = 1000;
  // Ten requests a second, one after another.
  const auto seconds = [&](int count) {
    std::string all;
    for (int i = 0; i < count * 10; ++i) {
      const auto selection = rig.select();
      const char chosen = Rig::digit(selection->next());
      selection->note_times(chosen == '1' ? first_takes : 20, 1000);
      selection->finish(Selection::Result::ok);
      rig.milliseconds += 100;
      all += chosen;
    }
    return std::count(all.begin(), all.end(), '1');
  };
  CHECK(seconds(1) == 1);
  CHECK(seconds(50) == 0);
  // 1000 ms lose half in 10 seconds: below 20 ms after a minute.
  CHECK(seconds(20) == 1);
  CHECK(seconds(180) == 3);
  first_takes = 10;
  CHECK(seconds(70) > 100);
  CHECK(seconds(10) >= 98);  // now the other one is tried at times
}

TEST_CASE("aged: half after each half-life", "[upstream]") {
  CHECK(aged(1000, 0) == 1000);
  CHECK(aged(1000, kHalfLife / 2) == 750);
  CHECK(aged(1000, kHalfLife) == 500);
  CHECK(aged(1000, 2 * kHalfLife + kHalfLife / 2) == 188);
  CHECK(aged(UINT32_MAX, 100 * kHalfLife) == 0);
}

TEST_CASE("least_time inflight: requests that wait count before they are answered", "[upstream]") {
  Fixture f(Method::least_time);
  f.keep(2);
  f.cluster.balancing.time = Balancing::Time::header;
  f.cluster.balancing.in_flight = true;
  for (int i = 0; i < 2; ++i) {
    auto selection = f.select();
    selection->next();
    selection->note_times(10, 10);
    selection->finish(Selection::Result::ok);
  }
  auto stuck = f.select();
  const char slow = Fixture::digit(stuck->next());
  f.seconds += 5;
  std::vector<std::unique_ptr<Selection>> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(f.select());
    CHECK(Fixture::digit(open.back()->next()) != slow);
  }
}

TEST_CASE("random: by weight; two: the one with fewer connections", "[upstream]") {
  Fixture f(Method::random);
  f.keep(2);
  f.cluster.servers[1].weight = 3;
  int second = 0;
  for (int i = 0; i < 2000; ++i) second += f.one({}) == '1';
  CHECK(second > 1350);
  CHECK(second < 1650);

  Fixture two(Method::random);
  two.keep(2);
  two.cluster.balancing.two = true;
  auto held = two.select();
  const char busy = Fixture::digit(held->next());
  for (int i = 0; i < 100; ++i) CHECK(two.one({}) != busy);
}

TEST_CASE("max_conns is kept by every balancer", "[upstream]") {
  for (const Method method : {Method::hash, Method::consistent_hash, Method::ip_hash,
                              Method::least_connections, Method::random}) {
    Fixture f(method);
    f.keep(2);
    for (Server& server : f.cluster.servers) server.max_connections = 1;
    const auto client = net::Address::parse_host("10.0.0.1");
    auto one = f.select("key", &*client);
    auto two = f.select("key", &*client);
    auto three = f.select("key", &*client);
    const char first = Fixture::digit(one->next());
    const char second = Fixture::digit(two->next());
    CHECK(first != second);
    CHECK(second != '-');
    CHECK(three->next() == nullptr);
  }
}

TEST_CASE("zone: peer sets of one zone share failures, connections and turns", "[upstream]") {
  Fixture one(Method::round_robin), two(Method::round_robin);
  const auto zone =
      std::make_shared<zone::Zone>(zone::ZoneRequest{"backend", 64 * 1024, "http upstream 1", ""});
  REQUIRE(zone->attach_private());
  for (Fixture* f : {&one, &two}) {
    f->keep(3);
    f->cluster.zone = zone;
    f->cluster.servers[0].max_connections = 1;
    f->build();
  }
  CHECK(one.one({}) == '0');
  CHECK(two.one({}) == '1');
  CHECK(one.one({}) == '2');
  auto held = one.select();
  CHECK(Fixture::digit(held->next()) == '0');
  std::string seen;
  for (int i = 0; i < 4; ++i) seen += two.one({});
  CHECK(seen.find('0') == seen.npos);
  held.reset();
  {
    auto failing = one.select();
    while (Fixture::digit(failing->next()) != '1') failing->finish(Selection::Result::released);
    CHECK(failing->finish(Selection::Result::failed));
  }
  for (int i = 0; i < 6; ++i) CHECK(two.one({}) != '1');

  SECTION("a new configuration finds it again") {
    two.build();
    for (int i = 0; i < 6; ++i) CHECK(two.one({}) != '1');
  }
  SECTION("an emptied zone begins anew") {
    auto busy = one.select();
    busy->next();
    {
      zone::Lock lock(*zone);
      lock.empty();
    }
    std::string all;
    for (int i = 0; i < 6; ++i) all += two.one({});
    CHECK(std::count(all.begin(), all.end(), '1') == 2);
    busy->finish(Selection::Result::ok);
  }
  SECTION("connections of a worker that is killed are given back") {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
      one.peers = make_ref<PeerSet>(one.cluster, nullptr);
      auto busy = one.select();
      while (Fixture::digit(busy->next()) != '0') busy->finish(Selection::Result::released);
      char byte = 1;
      if (write(ready[1], &byte, 1) != 1) _exit(1);
      while (true) pause();
    }
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    std::string all;
    for (int i = 0; i < 4; ++i) all += two.one({});
    CHECK(all.find('0') == all.npos);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    two.build();
    for (int i = 0; i < 4; ++i) all += two.one({});
    CHECK(all.find('0') != all.npos);
    close(ready[0]);
    close(ready[1]);
  }
  SECTION("peers that nobody uses leave it") {
    one.peers = {};
    two.peers = {};
    zone::Locked<SharedPeers> shared(*zone);
    CHECK(shared->table.count() == 0);
    CHECK(shared->tallies.count() == 0);
  }
}

TEST_CASE("zone: a full one leaves peers to each worker", "[upstream]") {
  Fixture f(Method::round_robin);
  const auto zone =
      std::make_shared<zone::Zone>(zone::ZoneRequest{"small", 32 * 1024, "http upstream 1", ""});
  REQUIRE(zone->attach_private());
  f.cluster.zone = zone;
  for (uint16_t i = 0; i < 600; ++i) {
    Server server = f.cluster.servers[0];
    server.addresses = {*net::Address::parse_host("127.0.0.1", static_cast<uint16_t>(20000 + i))};
    f.cluster.servers.push_back(server);
  }
  for (int i = 0; i < 1300; ++i) CHECK(f.select()->next() != nullptr);
}
