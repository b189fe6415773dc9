#include "engine/upstream/following.h"

#include <algorithm>

#include "tests/engine/upstream/name_server.h"

using namespace weir;
using namespace weir::upstream;
using namespace weir::test;

namespace {

struct Rig {
  Loop loop;
  NameServer server{loop};
  Resolver resolver{loop, {"ipv6=off", server.text()}};
  Cluster cluster;
  std::string log;
  FollowedCluster following{loop, &Rig::tell, this};

  Rig() {
    cluster.name = "app";
    cluster.resolver_timeout = 1000;
  }
  static void tell(void* self, Severity, const std::string& text) {
    static_cast<Rig*>(self)->log += text + "\n";
  }
  Server& add(const std::string& host, const std::string& service = {}) {
    Server server;
    server.name = server.host = host;
    server.service = service;
    server.resolve = true;
    if (service.empty()) server.port = 80;
    cluster.servers.push_back(server);
    return cluster.servers.back();
  }
  void use() { following.use(cluster, &resolver, &resolver, {}); }
  template <class Condition>
  bool until(Condition condition) {
    return run_until(loop, [&] {
      server.serve();
      return condition();
    });
  }
  // "10.0.0.1:80*3b": address, weight, backup.
  std::string peers() {
    std::string text;
    const Cluster filled = following.filled(cluster);
    for (const Server& server : filled.servers) {
      for (const net::Address& address : server.addresses) {
        text += (text.empty() ? "" : " ") + address.text() + "*" + std::to_string(server.weight) +
                (server.backup ? "b" : "");
      }
    }
    return text;
  }
};

}  // namespace

TEST_CASE("following: a service's records are servers, the later priorities for backup") {
  Rig rig;
  rig.server.add_service("_http._tcp.app.test", 10, 0, 8080, "one.test");
  rig.server.add_service("_http._tcp.app.test", 10, 7, 8081, "two.test");
  rig.server.add_service("_http._tcp.app.test", 20, 5, 8082, "one.test");
  rig.server.add_service("_http._tcp.app.test", 30, 5, 8083, "two.test");
  rig.server.add("one.test", {v4(10, 0, 0, 1)});
  rig.server.add("two.test", {v4(10, 0, 0, 2), v4(10, 0, 0, 3)});
  Server& server = rig.add("app.test", "http");
  std::string expected =
      "10.0.0.1:8080*1 10.0.0.2:8081*7 10.0.0.3:8081*7 10.0.0.1:8082*5b 10.0.0.2:8083*5b "
      "10.0.0.3:8083*5b";
  SECTION("weights are the records'") {}
  SECTION("a weight of the line comes first") {
    server.weight = 4;
    expected =
        "10.0.0.1:8080*4 10.0.0.2:8081*4 10.0.0.3:8081*4 10.0.0.1:8082*4b 10.0.0.2:8083*4b "
        "10.0.0.3:8083*4b";
  }
  SECTION("of a backup server the first priority is there") {
    server.backup = true;
    expected = "10.0.0.1:8080*1b 10.0.0.2:8081*7b 10.0.0.3:8081*7b";
  }
  rig.use();
  REQUIRE(rig.until([&] { return !rig.peers().empty(); }));
  CHECK(rig.peers() == expected);
  CHECK(rig.log.empty());
}

TEST_CASE("following: the name that is asked for") {
  CHECK(service_name("backend.example.com", "http") == "_http._tcp.backend.example.com");
  CHECK(service_name("backend.example.com", "_http._tcp") == "_http._tcp.backend.example.com");
  CHECK(service_name("example.com", "server1.backend") == "server1.backend.example.com");
}

TEST_CASE("following: records come and go by their time to live") {
  Rig rig;
  rig.server.add_service("a.b.app.test", 1, 1, 80, "one.test", 1);
  rig.server.add("one.test", {v4(10, 0, 0, 1)});
  rig.server.add("two.test", {v4(10, 0, 0, 2)});
  rig.add("app.test", "a.b");
  rig.use();
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1"; }));
  rig.server.add_service("a.b.app.test", 1, 2, 81, "two.test", 1);
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1 10.0.0.2:81*2"; }));
  const uint64_t version = rig.following.version();
  // The addresses were remembered, the records asked for twice.
  CHECK(rig.server.questions == 4);
  rig.server.remove("a.b.app.test", kSrv);
  REQUIRE(rig.until([&] { return rig.peers().empty(); }));
  CHECK(rig.following.version() == version + 1);
  CHECK(rig.log == "service a.b of app.test could not be resolved (3: Host not found)\n");
}

TEST_CASE("following: the time to live of a target counts too") {
  Rig rig;
  rig.server.add_service("_x._tcp.app.test", 1, 1, 80, "one.test", 300);
  rig.server.add("one.test", {v4(10, 0, 0, 1)}, 1);
  rig.add("app.test", "x");
  rig.use();
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1"; }));
  rig.server.add("one.test", {v4(10, 0, 0, 9)}, 1);
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.9:80*1"; }));
  CHECK(rig.log.empty());
}

TEST_CASE("following: a target without an address") {
  Rig rig;
  rig.server.add_service("_http._tcp.app.test", 1, 1, 80, "one.test", 1);
  rig.server.add_service("_http._tcp.app.test", 1, 1, 80, "two.test", 1);
  rig.server.add("one.test", {v4(10, 0, 0, 1)}, 1);
  rig.add("app.test", "http");
  const std::string failed =
      "two.test could not be resolved (3: Host not found) while resolving service http of "
      "app.test\n";
  SECTION("the others serve") {
    rig.use();
    REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1"; }));
    CHECK(rig.log == failed);
  }
  SECTION("none has one") {
    rig.server.remove("one.test", kA);
    rig.use();
    REQUIRE(rig.until(
        [&] { return rig.log.find("service http of app.test could not") != rig.log.npos; }));
    CHECK(rig.peers().empty());
  }
  SECTION("a name server that is silent about one leaves what was known of it") {
    rig.server.add("two.test", {v4(10, 0, 0, 2)}, 1);
    rig.use();
    REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1 10.0.0.2:80*1"; }));
    Answer silent;
    silent.silent = true;
    rig.server.add("two.test", kA, silent);
    rig.server.add("one.test", {v4(10, 0, 0, 7)}, 1);
    REQUIRE(rig.until([&] {
      return rig.peers() == "10.0.0.2:80*1 10.0.0.7:80*1" ||
             rig.peers() == "10.0.0.7:80*1 10.0.0.2:80*1";
    }));
    CHECK(rig.log.find("two.test could not be resolved (110: Operation timed out) while") == 0);
  }
  SECTION("the service is not offered") {
    rig.server.remove("_http._tcp.app.test", kSrv);
    rig.server.add_service("_http._tcp.app.test", 0, 0, 0, "");
    rig.use();
    REQUIRE(rig.until(
        [&] { return rig.log.find("service http of app.test could not") != rig.log.npos; }));
    CHECK(rig.peers().empty());
  }
}

TEST_CASE("following: a name server cannot make a ring of any size") {
  Rig rig;
  for (int i = 0; i < 80; ++i) {
    rig.server.add_service("_http._tcp.app.test", 1, 65535, static_cast<uint16_t>(1000 + i),
                           "one.test");
  }
  std::vector<std::string> addresses;
  for (int i = 0; i < 10; ++i) addresses.push_back(v4(10, 0, 0, i));
  rig.server.add("one.test", addresses);
  rig.add("app.test", "http");
  rig.cluster.method = Method::consistent_hash;
  rig.use();
  REQUIRE(rig.until([&] { return !rig.peers().empty(); }));
  const Cluster filled = rig.following.filled(rig.cluster);
  uint64_t weight = 0;
  for (const Server& server : filled.servers) weight += server.weight;
  CHECK(filled.servers.size() == 256);
  CHECK(weight <= 10000);
}

TEST_CASE("following: a name that was not found when the configuration was read") {
  Rig rig;
  Server& server = rig.add("late.test");
  server.resolve = false;
  server.unresolved = true;
  SECTION("is asked for until it is found, and not again") {
    rig.use();
    REQUIRE(rig.until([&] { return !rig.log.empty(); }));
    CHECK(rig.log == "late.test could not be resolved (3: Host not found)\n");
    CHECK(rig.peers().empty());
    rig.server.add("late.test", {v4(10, 0, 0, 2), v4(10, 0, 0, 1)}, 0);
    REQUIRE(rig.until([&] { return !rig.peers().empty(); }));
    const size_t line = rig.log.find("late.test was resolved to 10.0.0.");
    CHECK(line != rig.log.npos);
    const int questions = rig.server.questions;
    const std::string peers = rig.peers();
    rig.server.add("late.test", {v4(10, 0, 0, 3)}, 0);
    run_for(rig.loop, 1200);
    rig.server.serve();
    CHECK(rig.server.questions == questions);
    // The same server in another configuration.
    rig.use();
    CHECK(rig.peers() == peers);
  }
  SECTION("serves with the addresses of before meanwhile") {
    Server before;
    before.name = before.host = "late.test";
    before.addresses.push_back(*net::Address::parse("10.0.0.5:80"));
    rig.following.use(rig.cluster, nullptr, &rig.resolver, {before});
    CHECK(rig.peers() == "10.0.0.5:80*1");
    REQUIRE(rig.until([&] { return !rig.log.empty(); }));
    CHECK(rig.peers() == "10.0.0.5:80*1");
    rig.server.add("late.test", {v4(10, 0, 0, 6)}, 0);
    REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.6:80*1"; }));
  }
}

TEST_CASE("following: names that both configurations have are not asked for again") {
  Rig rig;
  rig.server.add("one.test", {v4(10, 0, 0, 1)});
  rig.server.add("two.test", {v4(10, 0, 0, 2)});
  rig.add("one.test");
  rig.use();
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1"; }));
  rig.add("two.test");
  rig.use();
  CHECK(rig.peers() == "10.0.0.1:80*1");
  REQUIRE(rig.until([&] { return rig.peers() == "10.0.0.1:80*1 10.0.0.2:80*1"; }));
  CHECK(rig.server.questions == 2);
}
