#include "engine/async/task.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>

#include "engine/async/event.h"
#include "engine/event/loop.h"

using weir::Event;
using weir::Loop;
using weir::Task;
using weir::Wait;

namespace {

Task<int> ready_child(int value) {
  co_return value;
}

Task<long> sum_of_ready(int count) {
  long sum = 0;
  for (int i = 0; i < count; ++i) sum += co_await ready_child(i % 10);
  co_return sum;
}

Task<int> nested(int depth) {
  if (depth == 0) co_return 1;
  int below = co_await nested(depth - 1);
  co_return below + 1;
}

Task<Wait> wait_once(Event& event, uint64_t milliseconds) {
  co_return co_await event.wait(milliseconds);
}

Task<int> count_rings(Event& event, int rings) {
  int seen = 0;
  while (seen < rings) {
    const Wait waited = co_await event.wait();
    if (waited != Wait::done) break;
    ++seen;
  }
  co_return seen;
}

// Awaits children that really suspend, many times: stack use must stay constant there too.
Task<int> child_loop(Event& event, int times) {
  int sum = 0;
  for (int i = 0; i < times; ++i) {
    event.ring();
    sum += co_await count_rings(event, 1);
  }
  co_return sum;
}

struct Tracked {
  explicit Tracked(std::string& log) : log_(log) {}
  ~Tracked() { log_ += 'x'; }
  std::string& log_;
};

Task<void> holds(std::string& log, Event& event) {
  Tracked outer(log);
  co_await event.wait(50);
  log += "resumed";
}

Task<void> holds_child(std::string& log, Event& event) {
  Tracked outer(log);
  co_await holds(log, event);
}

Task<std::unique_ptr<int>> gives_pointer(Event& event) {
  co_await event.wait();
  co_return std::make_unique<int>(7);
}

template <class T>
void run_until_finished(Loop& loop, Task<T>& task) {
  for (int i = 0; i < 10000 && !task.finished(); ++i) loop.run_once(1000);
  REQUIRE(task.finished());
}

}  // namespace

TEST_CASE("a million ready children use constant stack", "[task]") {
  auto task = sum_of_ready(1000000);
  task.start();
  REQUIRE(task.finished());
  CHECK(task.result() == 4500000);
}

TEST_CASE("nested tasks pass results up", "[task]") {
  auto task = nested(200);
  task.start();
  REQUIRE(task.finished());
  CHECK(task.result() == 201);
}

TEST_CASE("a ring wakes the waiter from the top level", "[event]") {
  Loop loop;
  Event event(loop);
  auto task = count_rings(event, 2);
  task.start();
  CHECK(event.has_waiter());
  event.ring();
  event.ring();  // the same ring: one mailbox bell
  CHECK_FALSE(task.finished());
  loop.run_once(0);
  CHECK_FALSE(task.finished());
  event.ring();
  run_until_finished(loop, task);
  CHECK(task.result() == 2);
}

TEST_CASE("a root tells when it finishes, unless it does so at once", "[task]") {
  const auto count = [](void* owner) { ++*static_cast<int*>(owner); };
  int told = 0;
  auto ready = sum_of_ready(3);
  ready.start(count, &told);
  REQUIRE(ready.finished());
  CHECK(told == 0);
  Loop loop;
  Event event(loop);
  auto waiting = count_rings(event, 2);
  waiting.start(count, &told);
  for (int i = 0; i < 2; ++i) {
    CHECK(told == 0);
    event.ring();
    loop.run_once(0);
  }
  REQUIRE(waiting.finished());
  CHECK(told == 1);
  CHECK(waiting.result() == 2);
}

TEST_CASE("a ring with nobody waiting is remembered once", "[event]") {
  Loop loop;
  Event event(loop);
  event.ring();
  event.ring();
  auto first = wait_once(event, 0);
  first.start();
  REQUIRE(first.finished());
  CHECK(first.result() == Wait::done);
  auto second = wait_once(event, 5);
  second.start();
  CHECK_FALSE(second.finished());
  run_until_finished(loop, second);
  CHECK(second.result() == Wait::timed_out);
}

TEST_CASE("a ring in the round of the timeout is a ring", "[event]") {
  Loop loop;
  Event event(loop);
  auto task = wait_once(event, 1);
  task.start();
  weir::Timer timer([](void* e) { static_cast<Event*>(e)->ring(); }, &event);
  timer.arm(loop, 1);
  run_until_finished(loop, task);
  CHECK(task.result() == Wait::done);
}

TEST_CASE("cancel ends this wait and all later ones", "[event]") {
  Loop loop;
  Event event(loop);
  auto task = wait_once(event, 100000);
  task.start();
  event.cancel();
  CHECK_FALSE(task.finished());
  run_until_finished(loop, task);
  CHECK(task.result() == Wait::cancelled);
  event.ring();
  auto again = wait_once(event, 0);
  again.start();
  REQUIRE(again.finished());
  CHECK(again.result() == Wait::cancelled);
}

TEST_CASE("children that suspend are resumed without growing the stack", "[task]") {
  Loop loop;
  Event event(loop);
  auto task = child_loop(event, 100000);
  task.start();
  run_until_finished(loop, task);
  CHECK(task.result() == 100000);
}

TEST_CASE("destroying a waiting task unwinds it and unregisters the waiter", "[task]") {
  Loop loop;
  std::string log;
  Event event(loop);
  {
    auto task = holds_child(log, event);
    task.start();
    CHECK(event.has_waiter());
    event.ring();  // queued, then destroyed: must not be resumed
  }
  CHECK(log == "xx");
  CHECK_FALSE(event.has_waiter());
  loop.run_once(0);
  CHECK(log == "xx");
  auto task = wait_once(event, 0);  // the ring is still there
  task.start();
  CHECK(task.finished());
}

TEST_CASE("an event destroyed while its waiter is queued never wakes it", "[event]") {
  Loop loop;
  std::string log;
  auto event = std::make_unique<Event>(loop);
  auto task = holds(log, *event);
  task.start();
  event->ring();
  event.reset();
  loop.run_once(0);
  loop.run_once(60);
  CHECK(log.empty());
  task = Task<void>();
  CHECK(log == "x");
}

TEST_CASE("results are moved out", "[task]") {
  Loop loop;
  Event event(loop);
  auto task = gives_pointer(event);
  task.start();
  event.ring();
  run_until_finished(loop, task);
  CHECK(*task.result() == 7);
}

TEST_CASE("an event outlives its loop quietly", "[event]") {
  auto loop = std::make_unique<Loop>();
  std::string log;
  Event event(*loop);
  auto task = holds(log, event);
  task.start();
  event.ring();
  loop.reset();
  CHECK(log.empty());
}

TEST_CASE("frames of all sizes are reused", "[task]") {
  for (int round = 0; round < 3; ++round) {
    void* frames[100];
    for (size_t i = 0; i < 100; ++i) {
      frames[i] = weir::allocate_pooled(i * 60 + 1);
      std::memset(frames[i], 1, i * 60 + 1);
    }
    for (size_t i = 0; i < 100; ++i) weir::free_pooled(frames[i], i * 60 + 1);
  }
}
