#include "engine/event/loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/async/task.h"
#include "engine/event/deferred.h"
#include "engine/event/timer.h"
#include "engine/event/watcher.h"

using weir::Deferred;
using weir::Loop;
using weir::Timer;
using weir::Watcher;

namespace {

template <class Condition>
void run_until(Loop& loop, Condition condition) {
  for (int i = 0; i < 10000 && !condition(); ++i) loop.run_once(1000);
  REQUIRE(condition());
}

}  // namespace

TEST_CASE("the clock runs and the wall clock is the wall clock", "[loop]") {
  Loop loop;
  CHECK(loop.now() > 0);
  CHECK(std::abs(loop.wall_milliseconds() / 1000 - static_cast<int64_t>(::time(nullptr))) <= 1);
  uint64_t before = loop.now();
  bool fired = false;
  Timer timer([](void* p) { *static_cast<bool*>(p) = true; }, &fired);
  timer.arm(loop, 30);
  run_until(loop, [&] { return fired; });
  CHECK(loop.now() >= before + 30);
  CHECK(loop.now() < before + 3000);
}

TEST_CASE("run ends with stop, from a posted call, a timer or another thread", "[loop]") {
  Loop loop;
  loop.post([&] { loop.stop(); });
  loop.run();
  Timer timer([](void* p) { static_cast<Loop*>(p)->stop(); }, &loop);
  timer.arm(loop, 2);
  loop.run();
  std::thread thread([&] { loop.post_from_thread([&] { loop.stop(); }); });
  loop.run();
  thread.join();
}

TEST_CASE("posts from many threads all arrive, in each thread's order", "[loop]") {
  Loop loop;
  constexpr int kEach = 2000;
  std::vector<int> last(4, -1);
  int count = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        loop.post_from_thread([&, t, i] {
          ordered = ordered && last[t] == i - 1;
          last[t] = i;
          ++count;
        });
      }
    });
  }
  run_until(loop, [&] { return count == 4 * kEach; });
  for (auto& thread : threads) thread.join();
  CHECK(ordered);
}

TEST_CASE("posted calls may post; endless ones do not starve timers", "[loop]") {
  Loop loop;
  struct Endless {
    Loop& loop;
    int runs = 0;
    bool stopped = false;
    void again() {
      ++runs;
      if (!stopped) loop.post([this] { again(); });
    }
  } endless{loop};
  endless.again();
  bool fired = false;
  Timer timer([](void* p) { *static_cast<bool*>(p) = true; }, &fired);
  timer.arm(loop, 5);
  for (int i = 0; i < 1000000 && !fired; ++i) loop.run_once(1000);
  CHECK(fired);
  CHECK(endless.runs > 1);
  endless.stopped = true;
  loop.run_once(0);
}

TEST_CASE("deferred calls run once, from the top level, and are forgotten when destroyed",
          "[loop]") {
  Loop loop;
  std::string order;
  struct Call {
    std::string& order;
    char name;
    Deferred deferred{[](void* p) {
                        auto* call = static_cast<Call*>(p);
                        call->order += call->name;
                      },
                      this};
  };
  Call a{order, 'a'};
  std::unique_ptr<Call> b(new Call{order, 'b'});
  Call c{order, 'c'};
  a.deferred.schedule(loop);
  b->deferred.schedule(loop);
  c.deferred.schedule(loop);
  a.deferred.schedule(loop);
  CHECK(order.empty());
  b.reset();
  loop.run_once(0);
  CHECK(order == "ac");
  c.deferred.schedule(loop);
  c.deferred.cancel();
  CHECK_FALSE(c.deferred.scheduled());
  loop.run_once(0);
  CHECK(order == "ac");
}

TEST_CASE("late deferred calls run once a round, when all else is done", "[loop]") {
  Loop loop;
  std::string order;
  struct Late {
    std::string& order;
    Deferred call{[](void* self) { static_cast<Late*>(self)->order += "late "; }, this};
  } late{order};
  loop.post([&] {
    late.call.schedule_late(loop);
    order += "one ";
    loop.post([&] {
      late.call.schedule_late(loop);
      order += "two ";
    });
  });
  loop.run_once(0);
  CHECK(order == "one two late ");
  // From outside of a round too, and without waiting for anything else.
  late.call.schedule_late(loop);
  loop.run_once(10000);
  CHECK(order == "one two late late ");
  {
    Late gone{order};
    gone.call.schedule_late(loop);
  }
  loop.run_once(0);
  CHECK(order == "one two late late ");
}

TEST_CASE("a deferred call can go ahead of those that are queued", "[loop]") {
  Loop loop;
  std::string order;
  struct Call {
    std::string& order;
    char name;
    Deferred call{[](void* self) {
                    auto* this_call = static_cast<Call*>(self);
                    this_call->order += this_call->name;
                  },
                  this};
  };
  Call a{order, 'a'};
  Call b{order, 'b'};
  Call c{order, 'c'};
  a.call.schedule(loop);
  b.call.schedule(loop);
  c.call.schedule_first(loop);
  b.call.schedule_first(loop);  // queued already: it keeps its place
  loop.run_once(0);
  CHECK(order == "cab");
}

TEST_CASE("a deferred call may destroy the others of its turn", "[loop]") {
  Loop loop;
  struct Group {
    std::vector<std::unique_ptr<Deferred>> calls;
    int runs = 0;
  } group;
  for (int i = 0; i < 5; ++i) {
    group.calls.push_back(std::make_unique<Deferred>(
        [](void* p) {
          auto* group = static_cast<Group*>(p);
          ++group->runs;
          group->calls.clear();
        },
        &group));
  }
  for (auto& call : group.calls) call->schedule(loop);
  loop.run_once(0);
  CHECK(group.runs == 1);
}

TEST_CASE("blocking work runs elsewhere and reports here", "[loop]") {
  Loop loop;
  std::thread::id here = std::this_thread::get_id();
  int finished = 0;
  bool elsewhere = true;
  bool reported_here = true;
  for (int i = 0; i < 20; ++i) {
    loop.work([&] { elsewhere = elsewhere && std::this_thread::get_id() != here; },
              [&] {
                reported_here = reported_here && std::this_thread::get_id() == here;
                ++finished;
              });
  }
  run_until(loop, [&] { return finished == 20; });
  CHECK(elsewhere);
  CHECK(reported_here);
}

TEST_CASE("a loop that ends waits for its work and reports nothing", "[loop]") {
  bool worked = false;
  bool reported = false;
  {
    Loop loop;
    loop.work([&] { worked = true; }, [&] { reported = true; });
  }
  CHECK_FALSE(reported);
  static_cast<void>(worked);  // it may have been cancelled or not
}

TEST_CASE("signals arrive on the loop, handlers can be replaced and removed", "[loop]") {
  Loop loop;
  int first = 0;
  int second = 0;
  loop.on_signal(SIGUSR1, [&] {
    ++first;
    loop.on_signal(SIGUSR1, [&] { ++second; });
  });
  loop.run_once(0);
  ::kill(::getpid(), SIGUSR1);
  run_until(loop, [&] { return first == 1; });
  ::kill(::getpid(), SIGUSR1);
  run_until(loop, [&] { return second == 1; });
  loop.on_signal(SIGUSR1, {});
  loop.on_signal(SIGUSR2, {});
  CHECK(first == 1);
}

TEST_CASE("a watcher is level-triggered and can change and close itself", "[loop]") {
  Loop loop;
  int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  struct Watched {
    explicit Watched() : watcher(&Watched::ready, this) {}
    static void ready(void* p, uint32_t events) {
      auto* self = static_cast<Watched*>(p);
      self->events |= events;
      if (++self->calls == 3) self->watcher.close();
    }
    Watcher watcher;
    int calls = 0;
    uint32_t events = 0;
  } watched;
  CHECK(watched.watcher.open(loop, descriptor, EPOLLIN) == 0);
  loop.run_once(0);
  CHECK(watched.calls == 0);
  uint64_t one = 1;
  REQUIRE(::write(descriptor, &one, sizeof(one)) == sizeof(one));
  for (int i = 0; i < 5; ++i) loop.run_once(0);
  CHECK(watched.calls == 3);
  CHECK((watched.events & EPOLLIN) != 0);
  CHECK(watched.watcher.open(loop, descriptor, EPOLLIN) == 0);
  CHECK(watched.watcher.change(EPOLLOUT) == 0);
  watched.events = 0;
  loop.run_once(0);
  CHECK(watched.events == EPOLLOUT);
  watched.watcher.close();
  ::close(descriptor);
  CHECK(watched.watcher.open(loop, descriptor, EPOLLIN) == EBADF);
}

TEST_CASE("a watcher destroyed by another's callback in the same batch is not told", "[loop]") {
  Loop loop;
  struct Pair {
    std::unique_ptr<Watcher> watchers[2];
    int calls = 0;
    static void ready(void* p, uint32_t) {
      auto* pair = static_cast<Pair*>(p);
      ++pair->calls;
      for (auto& watcher : pair->watchers) watcher.reset();
    }
  } pair;
  int descriptors[2];
  for (int i = 0; i < 2; ++i) {
    descriptors[i] = ::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    pair.watchers[i] = std::make_unique<Watcher>(&Pair::ready, &pair);
    REQUIRE(pair.watchers[i]->open(loop, descriptors[i], EPOLLIN) == 0);
  }
  loop.run_once(0);
  CHECK(pair.calls == 1);
  for (int descriptor : descriptors) ::close(descriptor);
}
