#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "engine/upstream/health.h"
#include "engine/upstream/round_robin.h"
#include "engine/upstream/zone_room.h"

using namespace weir;
using namespace weir::upstream;

namespace {

HealthPolicy policy(uint32_t fails, uint32_t passes, bool mandatory = false,
                    bool persistent = false) {
  HealthPolicy made;
  made.fails = fails;
  made.passes = passes;
  made.mandatory = mandatory;
  made.persistent = persistent;
  return made;
}

HealthState begun(const HealthPolicy& policy) {
  HealthState state;
  begin_health(state, policy, 1);
  return state;
}

// A line that checks nothing by itself.
class NoCheck final : public HealthCheck {
 public:
  std::unique_ptr<Prober> make_prober(ProbeTarget, ProbeListener&) const override {
    return nullptr;
  }
  const ErrorLogTargets& log_targets(const Generation&) const override { return targets_; }

 private:
  ErrorLogTargets targets_;
};

int64_t read_seconds(void* clock) {
  return *static_cast<int64_t*>(clock);
}

bool yes(uint32_t) {
  return true;
}
bool no(uint32_t) {
  return false;
}

// A cluster in a zone, with three servers and a backup one.
struct Fixture {
  Cluster cluster;
  int64_t seconds = 1000;

  explicit Fixture(size_t checks = 1, const HealthPolicy& policy = HealthPolicy()) {
    cluster.name = "backend";
    cluster.generation = 1;
    for (uint16_t i = 0; i < 4; ++i) {
      Server server;
      server.name = "127.0.0.1:" + std::to_string(9001 + i);
      server.addresses.push_back(*net::Address::parse(server.name));
      server.backup = i == 3;
      cluster.servers.push_back(server);
    }
    zone::ZoneRequest request;
    request.name = "backend";
    request.size = 65536;
    cluster.zone = std::make_shared<zone::Zone>(request);
    REQUIRE(cluster.zone->attach_private());
    for (size_t i = 0; i < checks; ++i) {
      auto check = std::make_shared<NoCheck>();
      check->policy = policy;
      check->key = "check " + std::to_string(i);
      cluster.checks.push_back(check);
    }
  }
  void next_generation() {
    cluster.id = next_cluster_id();
    ++cluster.generation;
  }
  // The ports that six requests get.
  std::string choices(const Ref<PeerSet>& peers, Method method = Method::round_robin) {
    std::string all;
    Cluster chosen = cluster;
    chosen.method = method;
    for (int i = 0; i < 6; ++i) {
      BalancerClock clock;
      clock.seconds = read_seconds;
      clock.of = &seconds;
      net::Address client = *net::Address::parse("10.0." + std::to_string(i) + ".1:1");
      Subject subject;
      subject.client = &client;
      const auto selection = make_selection(peers, chosen, subject, clock);
      const auto* peer = selection->next();
      all += peer ? static_cast<char>('0' + peer->address.port() - 9000) : '-';
    }
    return all;
  }
  static void judge(PeerSet& peers, WeightedPeer& peer, bool passed, size_t check = 0) {
    const PeerSet::Guard guard(peers);
    note_check(*peer.health[check], HealthPolicy(), passed);
  }
};

}  // namespace

TEST_CASE("a server is unhealthy after so many failures in a row, healthy after so many passes") {
  const HealthPolicy rules = policy(2, 3);
  HealthState state = begun(rules);
  CHECK(state.health == Health::up);
  CHECK(note_check(state, rules, false) == HealthChange::none);
  CHECK(note_check(state, rules, true) == HealthChange::none);
  CHECK(note_check(state, rules, false) == HealthChange::none);
  CHECK(state.health == Health::up);
  CHECK(note_check(state, rules, false) == HealthChange::became_unhealthy);
  CHECK(state.health == Health::unhealthy);
  CHECK(note_check(state, rules, false) == HealthChange::none);
  CHECK(note_check(state, rules, true) == HealthChange::none);
  CHECK(note_check(state, rules, true) == HealthChange::none);
  CHECK(note_check(state, rules, false) == HealthChange::none);
  CHECK(note_check(state, rules, true) == HealthChange::none);
  CHECK(note_check(state, rules, true) == HealthChange::none);
  CHECK(state.health == Health::unhealthy);
  CHECK(note_check(state, rules, true) == HealthChange::became_healthy);
  CHECK(state.health == Health::up);
}

TEST_CASE("a mandatory check begins with checking, which the first pass ends") {
  const HealthPolicy rules = policy(2, 2, true);
  HealthState state = begun(rules);
  CHECK(state.health == Health::checking);
  SECTION("passed") {
    CHECK(note_check(state, rules, true) == HealthChange::became_healthy);
    CHECK(state.health == Health::up);
  }
  SECTION("failed") {
    CHECK(note_check(state, rules, false) == HealthChange::none);
    CHECK(state.health == Health::checking);
    CHECK(note_check(state, rules, false) == HealthChange::became_unhealthy);
    CHECK(note_check(state, rules, true) == HealthChange::none);
    CHECK(note_check(state, rules, true) == HealthChange::became_healthy);
  }
}

TEST_CASE("what a reload keeps") {
  SECTION("without mandatory: all") {
    const HealthPolicy rules = policy(1, 1);
    HealthState state = begun(rules);
    note_check(state, rules, false);
    begin_health(state, rules, 2);
    CHECK(state.health == Health::unhealthy);
  }
  SECTION("with mandatory: nothing, once for each generation") {
    const HealthPolicy rules = policy(1, 1, true);
    HealthState state = begun(rules);
    note_check(state, rules, true);
    begin_health(state, rules, 1);  // another worker
    CHECK(state.health == Health::up);
    begin_health(state, rules, 2);
    CHECK(state.health == Health::checking);
    note_check(state, rules, true);
    begin_health(state, rules, 2);
    CHECK(state.health == Health::up);
    begin_health(state, rules, 1);  // a request of the old configuration
    CHECK(state.health == Health::up);
  }
  SECTION("with persistent: who was healthy is") {
    const HealthPolicy rules = policy(1, 1, true, true);
    HealthState state = begun(rules);
    begin_health(state, rules, 2);
    CHECK(state.health == Health::checking);
    note_check(state, rules, true);
    begin_health(state, rules, 3);
    CHECK(state.health == Health::up);
    note_check(state, rules, false);
    begin_health(state, rules, 4);
    CHECK(state.health == Health::checking);
  }
}

TEST_CASE("the next check comes after the interval, and a chance of the jitter") {
  HealthPolicy rules;
  rules.interval_milliseconds = 700;
  CHECK(next_check(rules, 1000, 12345) == 1700);
  rules.jitter_milliseconds = 100;
  CHECK(next_check(rules, 1000, 0) == 1700);
  CHECK(next_check(rules, 1000, 100) == 1800);
  CHECK(next_check(rules, 1000, 101) == 1700);
}

TEST_CASE("a lease has one holder, until it runs out or its holder is gone") {
  Lease lease;
  CHECK(lease.take(11, 1000, 5000, yes));
  CHECK_FALSE(lease.take(12, 5999, 5000, yes));
  CHECK(lease.take(11, 5999, 5000, yes));
  CHECK_FALSE(lease.take(12, 6000, 5000, yes));
  CHECK(lease.take(12, 6000, 5000, no));
  CHECK_FALSE(lease.take(11, 6001, 5000, yes));
  CHECK(lease.take(11, 11000, 5000, yes));
  lease.leave(12);
  CHECK_FALSE(lease.take(12, 11001, 5000, yes));
  lease.leave(11);
  CHECK(lease.take(12, 11001, 5000, yes));
}

TEST_CASE("unhealthy servers get nothing, whatever the balancer") {
  Fixture fixture;
  const auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  const auto method = GENERATE(Method::round_robin, Method::least_connections, Method::ip_hash,
                               Method::random, Method::least_time);
  Fixture::judge(*peers, peers->primary[0], false);
  Fixture::judge(*peers, peers->primary[2], false);
  CHECK(fixture.choices(peers, method) == "222222");
  Fixture::judge(*peers, peers->primary[1], false);
  CHECK(fixture.choices(peers, method) == "444444");
  Fixture::judge(*peers, peers->backup[0], false);
  CHECK(fixture.choices(peers, method) == "------");
  Fixture::judge(*peers, peers->primary[2], true);
  CHECK(fixture.choices(peers, method) == "333333");
}

TEST_CASE("a single server is left out too") {
  Fixture fixture;
  fixture.cluster.servers.resize(1);
  const auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  CHECK(fixture.choices(peers) == "111111");
  Fixture::judge(*peers, peers->primary[0], false);
  CHECK(fixture.choices(peers) == "------");
}

TEST_CASE("each of several checks may object") {
  Fixture fixture(2);
  const auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  Fixture::judge(*peers, peers->primary[0], false, 0);
  Fixture::judge(*peers, peers->primary[1], false, 1);
  CHECK(fixture.choices(peers) == "333333");
  Fixture::judge(*peers, peers->primary[1], true, 0);
  CHECK(fixture.choices(peers) == "333333");
  Fixture::judge(*peers, peers->primary[1], true, 1);
  CHECK(fixture.choices(peers).find('1') == std::string::npos);
  CHECK(fixture.choices(peers).find('2') != std::string::npos);
}

TEST_CASE("states are shared by the workers and kept through reloads") {
  Fixture fixture;
  auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  Fixture::judge(*peers, peers->primary[0], false);
  Fixture::judge(*peers, peers->primary[1], false);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Another worker: a set of its own.
    const auto own = make_ref<PeerSet>(fixture.cluster, nullptr);
    bool right = fixture.choices(own) == "333333";
    Fixture::judge(*own, own->primary[1], true);
    _exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(fixture.choices(peers).find('1') == std::string::npos);
  CHECK(fixture.choices(peers).find('2') != std::string::npos);
  fixture.next_generation();
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers).find('1') == std::string::npos);
  // Without its check, or with another one, a server is what it was at first.
  fixture.next_generation();
  auto other = std::make_shared<NoCheck>();
  other->key = "another";
  fixture.cluster.checks[0] = other;
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers).find('1') != std::string::npos);
  fixture.next_generation();
  fixture.cluster.checks.clear();
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers).find('1') != std::string::npos);
}

TEST_CASE("servers that come with a mandatory check wait for it, servers that go are forgotten") {
  Fixture fixture(1, policy(1, 1, true));
  const Cluster whole = fixture.cluster;
  fixture.cluster.servers.resize(2);
  auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  CHECK(fixture.choices(peers) == "------");
  Fixture::judge(*peers, peers->primary[0], true);
  CHECK(fixture.choices(peers) == "111111");
  // The addresses of the same configuration have changed.
  fixture.cluster.servers = {whole.servers[0], whole.servers[2]};
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers) == "111111");
  Fixture::judge(*peers, peers->primary[1], true);
  fixture.cluster.servers = {whole.servers[2]};
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers) == "333333");
  fixture.cluster.servers = {whole.servers[0], whole.servers[2]};
  peers = make_ref<PeerSet>(fixture.cluster, peers.get());
  CHECK(fixture.choices(peers) == "333333");
}

TEST_CASE("health checks need room in the zone") {
  const auto most = [](size_t checks) {
    Fixture fixture(checks);
    zone::ZoneRequest request = fixture.cluster.zone->request;
    request.size = 32768;
    fixture.cluster.servers.clear();
    for (uint16_t port = 1;; ++port) {
      Server server;
      server.name = "127.0.0.1:" + std::to_string(port);
      server.addresses.push_back(*net::Address::parse(server.name));
      fixture.cluster.servers.push_back(server);
      if (!zone_has_room(request, {&fixture.cluster})) return port - 1;
      REQUIRE(port < 1000);
    }
  };
  const int without = most(0);
  CHECK(without > 10);
  CHECK(most(1) < without);
  CHECK(most(1) > 5);
  CHECK(most(2) < most(1));
}

TEST_CASE("one process does the checks; when it is killed, another") {
  Fixture fixture;
  const auto peers = make_ref<PeerSet>(fixture.cluster, nullptr);
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool taken = false;
    {
      PeerSet::Guard guard(*peers);
      taken = guard.take_lease(static_cast<uint32_t>(getpid()), 1000, 5000);
    }
    (void)!write(ready[1], taken ? "y" : "n", 1);
    pause();
    _exit(0);
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  const auto own = static_cast<uint32_t>(getpid());
  CHECK_FALSE(PeerSet::Guard(*peers).take_lease(own, 1001, 5000));
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(PeerSet::Guard(*peers).take_lease(own, 1002, 5000));
  close(ready[0]);
  close(ready[1]);
}
