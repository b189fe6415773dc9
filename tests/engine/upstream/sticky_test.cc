#include "engine/upstream/sticky.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/engine/upstream/rig.h"

using namespace weir;
using namespace weir::upstream;

namespace {

struct StickyRig : Rig {
  std::shared_ptr<StickyPolicy> policy = std::make_shared<StickyPolicy>();
  explicit StickyRig(size_t count, Method method = Method::round_robin) : Rig(count, method) {
    cluster.sticky = policy;
    const char* routes[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < count; ++i) cluster.servers[i].route = routes[i % 4];
  }
  static Subject bound(std::string_view name) {
    Subject subject;
    subject.bound_to = name;
    return subject;
  }
};

}  // namespace

TEST_CASE("sticky: a bound client comes to its server, whatever the balancer", "[upstream]") {
  for (const Method method :
       {Method::round_robin, Method::least_connections, Method::least_time, Method::random}) {
    StickyRig rig(3, method);
    for (int i = 0; i < 10; ++i) {
      CHECK(rig.one(StickyRig::bound("b")) == '2');
      CHECK(rig.one(StickyRig::bound("c")) == '3');
    }
  }
}

TEST_CASE("sticky: names of servers", "[upstream]") {
  StickyRig rig(2);
  rig.cluster.servers[0].route.clear();
  auto selection = rig.select();
  REQUIRE(Rig::digit(selection->next()) == '1');
  REQUIRE(selection->sticky_name());
  CHECK(selection->sticky_name()->text == hexadecimal(md5("127.0.0.1:9001")));
  selection->finish(Selection::Result::ok);
  CHECK(selection->sticky_name() == nullptr);
  selection = rig.select();
  REQUIRE(Rig::digit(selection->next()) == '2');
  CHECK(selection->sticky_name()->text == "b");
  const Md5Digest digest = md5("b");
  Subject subject;
  subject.bound_to_digest = &digest;
  CHECK(rig.one(subject) == '2');
  CHECK(rig.one(StickyRig::bound(hexadecimal(md5("127.0.0.1:9001")))) == '1');
}

TEST_CASE("sticky: unknown names, and servers that cannot serve, leave it to the balancer",
          "[upstream]") {
  StickyRig rig(3);
  std::string all;
  for (int i = 0; i < 6; ++i) all += rig.one(StickyRig::bound("nobody"));
  CHECK(all == "123123");

  SECTION("down") {
    rig.cluster.servers[1].down = true;
    rig.build();
    CHECK(rig.one(StickyRig::bound("b")) != '2');
  }
  SECTION("failed, and back later") {
    auto selection = rig.select(StickyRig::bound("b"));
    CHECK(Rig::digit(selection->next()) == '2');
    CHECK(selection->finish(Selection::Result::failed));
    CHECK(Rig::digit(selection->next()) != '2');
    selection->finish(Selection::Result::ok);
    CHECK(rig.one(StickyRig::bound("b")) != '2');
    rig.milliseconds += 11'000;
    CHECK(rig.one(StickyRig::bound("b")) == '2');
  }
  SECTION("full") {
    rig.cluster.servers[1].max_connections = 1;
    rig.build();
    auto held = rig.select(StickyRig::bound("b"));
    CHECK(Rig::digit(held->next()) == '2');
    CHECK(rig.one(StickyRig::bound("b")) != '2');
    held->finish(Selection::Result::ok);
    CHECK(rig.one(StickyRig::bound("b")) == '2');
  }
}

TEST_CASE("sticky: a bound server is tried once", "[upstream]") {
  StickyRig rig(3);
  for (Server& server : rig.cluster.servers) server.max_fails = 0;
  SECTION("among the first") {}
  SECTION("among the backup servers") {
    rig.cluster.servers[1].backup = true;
  }
  auto selection = rig.select(StickyRig::bound("b"));
  CHECK(selection->tries_left() == 3);
  std::string seen;
  for (int i = 0; i < 3; ++i) {
    seen += Rig::digit(selection->next());
    selection->finish(Selection::Result::failed);
  }
  CHECK(seen[0] == '2');
  std::sort(seen.begin(), seen.end());
  CHECK(seen == "123");
  CHECK(selection->tries_left() == 0);
  CHECK(selection->next() == nullptr);
}

TEST_CASE("sticky: an attempt that was none leaves the binding", "[upstream]") {
  StickyRig rig(4);
  SECTION("among the first") {}
  SECTION("among the backup servers") {
    rig.cluster.servers[1].backup = true;
  }
  auto selection = rig.select(StickyRig::bound("b"));
  for (int i = 0; i < 3; ++i) {
    CHECK(Rig::digit(selection->next()) == '2');
    selection->finish(Selection::Result::released);
    selection->give_try_back();
  }
  CHECK(Rig::digit(selection->next()) == '2');
  selection->finish(Selection::Result::released);
  CHECK(Rig::digit(selection->next()) != '2');
  selection->finish(Selection::Result::released);
  selection->give_try_back();
  CHECK(Rig::digit(selection->next()) != '2');
}

TEST_CASE("sticky: several servers of one name stand in for each other", "[upstream]") {
  StickyRig rig(3);
  rig.cluster.servers[2].route = "b";
  CHECK(rig.one(StickyRig::bound("b")) == '2');
  auto selection = rig.select(StickyRig::bound("b"));
  CHECK(Rig::digit(selection->next()) == '2');
  selection->finish(Selection::Result::failed);
  CHECK(rig.one(StickyRig::bound("b")) == '3');
}

TEST_CASE("drain: only those that are bound come", "[upstream]") {
  for (const Method method : {Method::round_robin, Method::least_connections, Method::random,
                              Method::hash, Method::consistent_hash, Method::ip_hash}) {
    StickyRig rig(3, method);
    rig.cluster.servers[0].drain = true;
    CHECK(rig.many(20).find('1') == std::string::npos);
    CHECK(rig.one(StickyRig::bound("a")) == '1');
    auto selection = rig.select(StickyRig::bound("a"));
    CHECK(selection->tries_left() == 3);
    CHECK(Rig::digit(selection->next()) == '1');
    selection->finish(Selection::Result::failed);
    CHECK(Rig::digit(selection->next()) != '1');
    selection->finish(Selection::Result::ok);
    CHECK(rig.select()->tries_left() == 2);
  }
  StickyRig alone(1);
  alone.cluster.servers[0].drain = true;
  CHECK(alone.one() == '-');
  CHECK(alone.one(StickyRig::bound("a")) == '1');
  alone.cluster.servers[0].down = true;
  alone.build();
  CHECK(alone.one(StickyRig::bound("a")) == '-');
}

TEST_CASE("sticky learn: sessions are found, grow old, and make room", "[upstream]") {
  StickyPolicy policy;
  policy.kind = StickyPolicy::Kind::learn;
  policy.timeout_milliseconds = 1000;
  policy.zone =
      std::make_shared<zone::Zone>(zone::ZoneRequest{"sessions", 32 * 1024, "http sticky 1", ""});
  REQUIRE(policy.zone->attach_private());
  CHECK(!find_session(policy, "s1", 5000));
  learn_session(policy, "s1", md5("a"), 5000);
  CHECK(find_session(policy, "s1", 5900) == md5("a"));
  // Use keeps it.
  CHECK(find_session(policy, "s1", 6800) == md5("a"));
  learn_session(policy, "s1", md5("b"), 6900);
  CHECK(find_session(policy, "s1", 7000) == md5("b"));
  CHECK(!find_session(policy, "s1", 8001));
  CHECK(!find_session(policy, "s1", 8001));

  // More than there is room for: the ones used last stay.
  const std::string longest(100'000, 'x');
  for (int i = 0; i < 5000; ++i) {
    learn_session(policy, longest + std::to_string(i), md5("a"), 9000);
    CHECK(find_session(policy, longest + "0", 9000) == md5("a"));
  }
  CHECK(find_session(policy, longest + "4999", 9000) == md5("a"));
  CHECK(!find_session(policy, longest + "1", 9000));

  // What is too old goes with what is new.
  learn_session(policy, "s2", md5("a"), 20'000);
  for (int i = 0; i < 1000; ++i) learn_session(policy, "s2", md5("a"), 20'000);
  zone::Locked<LearnedSessions> sessions(*policy.zone);
  CHECK(sessions->table.count() == 1);
}
