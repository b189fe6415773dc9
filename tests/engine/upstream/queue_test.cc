#include "engine/upstream/queue.h"

#include <catch2/catch.hpp>
#include <optional>

#include "engine/event/loop.h"
#include "tests/engine/upstream/rig.h"

using namespace weir;
using namespace weir::upstream;

TEST_CASE("queue: who came first is called first", "[upstream]") {
  Loop loop;
  auto queue = make_ref<Queue>(loop);
  Event event(loop);
  std::optional<Queue::Place> a, b, c;
  a.emplace(*queue, event);
  b.emplace(*queue, event);
  c.emplace(*queue, event);
  CHECK(queue->waiting() == 3);
  queue->released();
  CHECK(a->called());
  CHECK(!b->called());
  // Two at once are two calls.
  queue->released();
  CHECK(b->called());
  CHECK(!c->called());
  SECTION("the next is called when one goes that was") {
    b->wait_again(false);
    a.reset();
    CHECK(b->called());
    CHECK(!c->called());
  }
  SECTION("what one cannot use may do for those behind") {
    a->wait_again(true);
    CHECK(!a->called());
    CHECK(c->called());
    queue->released();
    CHECK(a->called());
  }
  SECTION("one in the middle leaves") {
    b.reset();
    CHECK(queue->waiting() == 2);
    a.reset();
    CHECK(c->called());
    c.reset();
    CHECK(queue->waiting() == 0);
    queue->released();
  }
}

TEST_CASE("queue: the first is called now and then", "[upstream]") {
  Loop loop;
  auto queue = make_ref<Queue>(loop);
  Event event(loop);
  Queue::Place a(*queue, event);
  Queue::Place b(*queue, event);
  for (int i = 0; i < 2; ++i) {
    while (!a.called()) loop.run_once(1000);
    CHECK(!b.called());
    a.wait_again(false);
  }
}

TEST_CASE("queue: a connection that ends calls; who waits finds the first servers again",
          "[upstream]") {
  Loop loop;
  Rig rig(3);
  rig.cluster.servers[0].max_connections = 1;
  rig.cluster.servers[1].max_connections = 1;
  rig.cluster.servers[2].backup = true;
  rig.cluster.servers[2].max_connections = 1;
  rig.build();
  rig.peers->queue = make_ref<Queue>(loop);
  Event event(loop);

  auto one = rig.select(), two = rig.select(), three = rig.select(), late = rig.select();
  CHECK(Rig::digit(one->next()) == '1');
  CHECK(Rig::digit(two->next()) == '2');
  CHECK(Rig::digit(three->next()) == '3');
  CHECK(late->next() == nullptr);
  CHECK(late->busy());
  Queue::Place place(*rig.peers->queue, event);
  two->finish(Selection::Result::ok);
  CHECK(place.called());
  CHECK(Rig::digit(late->next()) == '2');
  place.wait_again(false);
  late.reset();
  CHECK(place.called());
  place.wait_again(false);
  // A failure frees a connection too.
  CHECK(one->finish(Selection::Result::failed));
  CHECK(place.called());
}

TEST_CASE("queue: busy is who has reached max_conns, not who has failed", "[upstream]") {
  Rig rig(2);
  rig.cluster.servers[0].down = true;
  rig.cluster.servers[1].max_connections = 1;
  auto held = rig.select();
  CHECK(held->next());
  auto late = rig.select();
  CHECK(late->next() == nullptr);
  CHECK(late->busy());
  held->finish(Selection::Result::failed);
  late = rig.select();
  CHECK(late->next() == nullptr);
  CHECK(!late->busy());

  Rig alone(1);
  alone.cluster.servers[0].max_connections = 1;
  held = alone.select();
  CHECK(held->next());
  late = alone.select();
  CHECK(late->next() == nullptr);
  CHECK(late->busy());
}
