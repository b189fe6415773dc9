#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/engine/upstream/rig.h"

using namespace weir;
using namespace weir::upstream;

namespace {

long count(const std::string& all, char server) {
  return std::count(all.begin(), all.end(), server);
}

// The first server fails, and is found to be back.
void fail_and_recover(Rig& rig) {
  for (int i = 0; i < 4; ++i) {
    auto selection = rig.select();
    const bool first = Rig::digit(selection->next()) == '1';
    selection->finish(first ? Selection::Result::failed : Selection::Result::ok);
  }
  REQUIRE(count(rig.many(20), '1') == 0);
  rig.milliseconds += 11'000;
  std::string tried;
  while (count(tried, '1') == 0) tried += rig.one();
}

}  // namespace

TEST_CASE("slow_start: the weight of a server that is back grows", "[upstream]") {
  for (const Method method : {Method::round_robin, Method::least_connections}) {
    Rig rig(2, method);
    rig.cluster.servers[0].weight = 2;
    rig.cluster.servers[0].slow_start_milliseconds = 100'000;
    CHECK(count(rig.many(300), '1') == 200);
    fail_and_recover(rig);
    CHECK(count(rig.many(300), '1') < 5);
    rig.milliseconds += 25'000;  // a weight of half
    const long quarter = count(rig.many(300), '1');
    CHECK(quarter > 90);
    CHECK(quarter < 110);
    rig.milliseconds += 25'000;
    const long half = count(rig.many(300), '1');
    CHECK(half > 140);
    CHECK(half < 160);
    rig.milliseconds += 50'000;
    rig.many(30);
    CHECK(count(rig.many(300), '1') == 200);
  }
}

TEST_CASE("slow_start: with least_time the quicker one comes back slowly, too", "[upstream]") {
  Rig rig(2, Method::least_time);
  rig.cluster.balancing.time = Balancing::Time::header;
  rig.cluster.servers[0].slow_start_milliseconds = 100'000;
  const auto one = [&rig] {
    const auto selection = rig.select();
    const char chosen = Rig::digit(selection->next());
    selection->note_times(chosen == '1' ? 20 : 100, 200);
    selection->finish(Selection::Result::ok);
    return chosen;
  };
  const auto many = [&one] {
    std::string all;
    while (all.size() < 100) all += one();
    return all;
  };
  one();
  one();
  CHECK(count(many(), '1') == 100);
  fail_and_recover(rig);
  CHECK(count(many(), '1') <= 1);
  rig.milliseconds += 25'000;
  CHECK(count(many(), '1') == 25);
  rig.milliseconds += 50'000;
  CHECK(count(many(), '1') == 75);
  rig.milliseconds += 25'000;
  CHECK(count(many(), '1') >= 99);  // the other one's time has grown old
}

TEST_CASE("slow_start: with least_time servers as quick as each other take turns", "[upstream]") {
  Rig rig(2, Method::least_time);
  rig.cluster.servers[0].slow_start_milliseconds = 100'000;
  CHECK(count(rig.many(100), '1') == 50);
  fail_and_recover(rig);
  CHECK(count(rig.many(100), '1') <= 1);
  rig.milliseconds += 25'000;
  const long quarter = count(rig.many(100), '1');  // a quarter to one
  CHECK(quarter >= 19);
  CHECK(quarter <= 21);
  rig.milliseconds += 75'000;
  rig.many(10);
  CHECK(count(rig.many(100), '1') == 50);
}

TEST_CASE("slow_start: whoever is alone serves", "[upstream]") {
  Rig rig(2);
  for (Server& server : rig.cluster.servers) server.slow_start_milliseconds = 100'000;
  fail_and_recover(rig);
  auto held = rig.select();
  CHECK(Rig::digit(held->next()) == '2');
  held->finish(Selection::Result::failed);
  CHECK(Rig::digit(held->next()) == '1');
  held->finish(Selection::Result::ok);
  CHECK(rig.many(10) == "1111111111");

  Rig alone(1);
  alone.cluster.servers[0].slow_start_milliseconds = 100'000;
  auto selection = alone.select();
  CHECK(selection->next());
  selection->finish(Selection::Result::failed);
  CHECK(alone.many(3) == "111");
}

TEST_CASE("slow_start: without it, and when it is taken away, turns are as ever", "[upstream]") {
  Rig plain(2);
  fail_and_recover(plain);
  CHECK(count(plain.many(300), '1') >= 149);

  Rig rig(2);
  rig.cluster.servers[0].slow_start_milliseconds = 100'000;
  fail_and_recover(rig);
  CHECK(count(rig.many(100), '1') < 3);
  rig.cluster.servers[0].slow_start_milliseconds = 0;
  rig.build();
  CHECK(count(rig.many(100), '1') == 50);
}
