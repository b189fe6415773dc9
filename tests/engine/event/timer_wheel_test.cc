#include "engine/event/timer_wheel.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <vector>

using weir::Timer;
using weir::TimerWheel;

namespace {

struct Probe {
  explicit Probe(const uint64_t& clock) : now(clock), timer(&Probe::fire, this) {}
  static void fire(void* self) {
    auto* probe = static_cast<Probe*>(self);
    probe->fired_at.push_back(probe->now);
  }
  const uint64_t& now;
  Timer timer;
  std::vector<uint64_t> fired_at;
};

// Drives the wheel as the loop does: sleeps until it says.
void run_until(TimerWheel& wheel, uint64_t& now, uint64_t end) {
  while (true) {
    uint64_t due = wheel.next_due();
    REQUIRE(due > now);
    if (due > end) break;
    now = due;
    wheel.advance(now);
  }
  now = end;
  wheel.advance(now);
}

}  // namespace

TEST_CASE("the timer is small", "[timer]") {
  CHECK(sizeof(Timer) <= 56);
}

TEST_CASE("deadlines are exact at every distance", "[timer]") {
  uint64_t start = GENERATE(uint64_t{1}, uint64_t{127}, uint64_t{1000003}, uint64_t{1} << 40);
  for (uint64_t delay : {0,    1,    2,    127,   128,   129,   999,   1000,  1001,    1023,
                         1024, 1025, 5000, 60000, 65407, 65408, 65536, 75000, 3600000, 86400000}) {
    uint64_t now = start;
    TimerWheel wheel(now);
    Probe probe(now);
    wheel.arm(probe.timer, now, delay);
    CHECK(probe.timer.armed());
    uint64_t expected = now + std::max<uint64_t>(delay, 1);
    run_until(wheel, now, expected + 10);
    REQUIRE(probe.fired_at.size() == 1);
    CHECK(probe.fired_at[0] == expected);
    CHECK_FALSE(probe.timer.armed());
    CHECK(wheel.next_due() == TimerWheel::kNever);
  }
}

TEST_CASE("re-arming later only stores the deadline; earlier moves it", "[timer]") {
  uint64_t now = 1000;
  TimerWheel wheel(now);
  Probe probe(now);
  wheel.arm(probe.timer, now, 60000);
  uint64_t first_due = wheel.next_due();
  wheel.arm(probe.timer, now, 65000);
  CHECK(wheel.next_due() == first_due);
  wheel.arm(probe.timer, now, 50);
  CHECK(wheel.next_due() == 1050);
  run_until(wheel, now, 100000);
  REQUIRE(probe.fired_at.size() == 1);
  CHECK(probe.fired_at[0] == 1050);
}

TEST_CASE("a busy connection's timeout never fires and seldom relinks", "[timer]") {
  uint64_t now = 5;
  TimerWheel wheel(now);
  Probe probe(now);
  int wakes = 0;
  for (int i = 0; i < 100000; ++i) {
    ++now;
    if (wheel.next_due() <= now) ++wakes;
    wheel.advance(now);
    wheel.arm(probe.timer, now, 60000);
  }
  CHECK(probe.fired_at.empty());
  CHECK(wakes <= 3);
}

TEST_CASE("cancelled and destroyed timers do not fire", "[timer]") {
  uint64_t now = 77;
  TimerWheel wheel(now);
  Probe cancelled(now);
  wheel.arm(cancelled.timer, now, 10);
  cancelled.timer.cancel();
  CHECK_FALSE(cancelled.timer.armed());
  std::vector<std::unique_ptr<Probe>> probes;
  for (int i = 0; i < 100; ++i) {
    probes.push_back(std::make_unique<Probe>(now));
    wheel.arm(probes.back()->timer, now, i % 2 == 0 ? 5 : 5000);
  }
  for (size_t i = 0; i < probes.size(); i += 3) probes[i].reset();
  run_until(wheel, now, 10000);
  CHECK(cancelled.fired_at.empty());
  for (size_t i = 0; i < probes.size(); ++i) {
    if (probes[i]) CHECK(probes[i]->fired_at.size() == 1);
  }
  CHECK(wheel.next_due() == TimerWheel::kNever);
  wheel.arm(cancelled.timer, now, 10);  // usable again
  run_until(wheel, now, now + 10);
  CHECK(cancelled.fired_at.size() == 1);
}

TEST_CASE("a callback may destroy others of its slot and arm itself again", "[timer]") {
  uint64_t now = 10;
  TimerWheel wheel(now);
  struct Killer {
    TimerWheel& wheel;
    uint64_t& now;
    std::vector<std::unique_ptr<Killer>>& all;
    int& fired;
    Timer timer{&Killer::fire, this};
    static void fire(void* p) {
      auto* self = static_cast<Killer*>(p);
      ++self->fired;
      if (self->fired == 1) {
        for (auto& other : self->all) {
          if (other.get() != self) other.reset();
        }
        self->wheel.arm(self->timer, self->now, 0);
      } else {
        for (auto& other : self->all) other.reset();  // itself too
      }
    }
  };
  std::vector<std::unique_ptr<Killer>> all;
  int fired = 0;
  for (int i = 0; i < 10; ++i) {
    all.emplace_back(new Killer{wheel, now, all, fired});
    wheel.arm(all.back()->timer, now, 20);
  }
  run_until(wheel, now, 100);
  CHECK(fired == 2);
}

TEST_CASE("a long stall fires everything that is due, once", "[timer]") {
  uint64_t now = 3;
  TimerWheel wheel(now);
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<uint64_t> deadlines;
  for (uint64_t delay = 1; delay < 400000; delay = delay * 5 / 4 + 1) {
    probes.push_back(std::make_unique<Probe>(now));
    wheel.arm(probes.back()->timer, now, delay);
    deadlines.push_back(now + delay);
  }
  now = 200000;
  wheel.advance(now);
  for (size_t i = 0; i < probes.size(); ++i) {
    CHECK(probes[i]->fired_at.size() == (deadlines[i] <= now ? 1 : 0));
  }
  run_until(wheel, now, 500000);
  for (size_t i = 0; i < probes.size(); ++i) {
    REQUIRE(probes[i]->fired_at.size() == 1);
    if (deadlines[i] > 200000) CHECK(probes[i]->fired_at[0] == deadlines[i]);
  }
}

TEST_CASE("random arming agrees with a plain list of deadlines", "[timer]") {
  std::mt19937 random(42);
  uint64_t now = 123456;
  TimerWheel wheel(now);
  constexpr size_t kTimers = 60;
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<uint64_t> deadlines(kTimers, 0);
  for (size_t i = 0; i < kTimers; ++i) probes.push_back(std::make_unique<Probe>(now));
  for (int step = 0; step < 20000; ++step) {
    size_t which = random() % kTimers;
    switch (random() % 8) {
      case 0:
        probes[which]->timer.cancel();
        deadlines[which] = 0;
        break;
      case 1:
        probes[which] = std::make_unique<Probe>(now);
        deadlines[which] = 0;
        break;
      default: {
        uint64_t delay = 1 + random() % (random() % 2 == 0 ? 1500 : 200000);
        wheel.arm(probes[which]->timer, now, delay);
        deadlines[which] = now + delay;
      }
    }
    now += random() % (random() % 50 == 0 ? 5000 : 40);
    wheel.advance(now);
    for (size_t i = 0; i < kTimers; ++i) {
      bool due = deadlines[i] != 0 && deadlines[i] <= now;
      REQUIRE(probes[i]->fired_at.size() == (due ? 1 : 0));
      REQUIRE(probes[i]->timer.armed() == (deadlines[i] > now));
      if (due) deadlines[i] = 0;
      probes[i]->fired_at.clear();
    }
  }
}

TEST_CASE("a timer outlives its wheel", "[timer]") {
  uint64_t now = 1;
  Probe near(now);
  Probe far(now);
  {
    TimerWheel wheel(now);
    wheel.arm(near.timer, now, 10);
    wheel.arm(far.timer, now, 100000);
  }
  CHECK(near.fired_at.empty());
}
