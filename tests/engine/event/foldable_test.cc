#include "engine/event/foldable.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/event/loop.h"

using namespace weir;

namespace {

// Something in a slot that knows what is in it.
struct Thing {
  explicit Thing(int number) : number_(number) {
    REQUIRE(memory.take() != nullptr);
    std::memset(memory.slot(), 0, 8192);
    *at(0) = *at(8000) = number;
    memory.watch(8192);
  }
  bool is_whole() {
    memory.use();
    return *at(0) == number_ && *at(8000) == number_;
  }
  int* at(size_t offset) {
    return reinterpret_cast<int*>(static_cast<char*>(memory.slot()) + offset);
  }
  Foldable memory;
  int number_;
};

}  // namespace

TEST_CASE("what nobody uses is folded after a while, what is used is not") {
  Loop loop;
  std::vector<std::unique_ptr<Thing>> things;
  for (int i = 1; i <= 1000; ++i) things.push_back(std::make_unique<Thing>(i));
  Thing used(5000);
  const uint64_t end = loop.now() + 20'000;
  const auto all_folded = [&] {
    for (const auto& each : things) {
      if (!each->memory.is_folded()) return false;
    }
    return true;
  };
  const uint64_t begin = loop.now();
  while (!all_folded() && loop.now() < end) {
    used.memory.use();
    loop.run_once(50);
    CHECK_FALSE(used.memory.is_folded());
  }
  REQUIRE(all_folded());
  CHECK(loop.now() - begin >= 1000);
  for (const auto& each : things) CHECK(each->is_whole());
  CHECK(used.is_whole());
}

TEST_CASE("foldable memory may go in any state, and outlive its loop") {
  auto loop = std::make_unique<Loop>();
  FoldWatch& watch = *FoldWatch::of_thread();
  auto first = std::make_unique<Thing>(1);
  auto second = std::make_unique<Thing>(2);
  Thing third(3);
  Thing fourth(4);
  CHECK(watch.fold_all() == 4);
  CHECK(watch.fold_all() == 0);
  CHECK(first->is_whole());
  first.reset();
  second.reset();
  CHECK(third.is_whole());
  loop.reset();
  CHECK(FoldWatch::of_thread() == nullptr);
  CHECK(third.is_whole());
  CHECK(fourth.is_whole());
  Thing fifth(5);
  CHECK(fifth.is_whole());
}

TEST_CASE("what is soon wanted back is left alone for longer") {
  Loop loop;
  FoldWatch& watch = *FoldWatch::of_thread();
  Thing thing(1);
  size_t idle = 1;
  for (int i = 0; i < 10; ++i) {
    CHECK(watch.pass() == 0);  // it was used before
    for (size_t pass = 1; pass < idle; ++pass) CHECK(watch.pass() == 0);
    CHECK(watch.pass() == 1);
    CHECK(thing.is_whole());
    idle = std::min<size_t>(2 * idle, 16);
  }
  // A use in between counts from the beginning.
  for (size_t pass = 0; pass < idle; ++pass) CHECK(watch.pass() == 0);
  CHECK(thing.is_whole());
  for (size_t pass = 0; pass < idle; ++pass) CHECK(watch.pass() == 0);
  CHECK(watch.pass() == 1);
}
