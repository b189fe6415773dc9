#include "engine/upstream/retry_budget.h"

#include <catch2/catch.hpp>

#include "tests/engine/upstream/rig.h"

using namespace weir;
using namespace weir::upstream;

namespace {

RetryBudget budget(uint32_t percent, uint32_t least_per_second) {
  RetryBudget made;
  made.enabled = true;
  made.percent = percent;
  made.least_per_thousand_seconds = least_per_second * 1000;
  return made;
}

int granted(RetryCounts& counts, const RetryBudget& budget, uint64_t now, int asked) {
  int count = 0;
  for (int i = 0; i < asked; ++i) count += counts.take_retry(budget, now);
  return count;
}

}  // namespace

TEST_CASE("retry budget: a share of the requests of the window") {
  RetryCounts counts;
  const RetryBudget share = budget(20, 0);
  CHECK(granted(counts, share, 1000, 5) == 0);
  for (int i = 0; i < 100; ++i) counts.count_request(share, 1000);
  CHECK(granted(counts, share, 1000, 50) == 20);
  for (int i = 0; i < 50; ++i) counts.count_request(share, 6000);
  CHECK(granted(counts, share, 6000, 50) == 10);
  // The first second's hundred have left the window, with their twenty.
  CHECK(granted(counts, share, 11'000, 50) == 0);
  for (int i = 0; i < 10; ++i) counts.count_request(share, 11'000);
  CHECK(granted(counts, share, 11'000, 50) == 2);
  // All have left.
  CHECK(granted(counts, share, 100'000, 50) == 0);
}

TEST_CASE("retry budget: a quiet cluster may try again") {
  RetryCounts counts;
  const RetryBudget least = budget(0, 3);
  CHECK(granted(counts, least, 500, 100) == 30);
  CHECK(granted(counts, least, 9'999, 100) == 0);
  CHECK(granted(counts, least, 10'000, 100) == 30);
}

TEST_CASE("retry budget: a clock that goes back") {
  RetryCounts counts;
  const RetryBudget share = budget(100, 0);
  counts.count_request(share, 50'000);
  CHECK(granted(counts, share, 10'000, 5) == 0);
  counts.count_request(share, 10'000);
  CHECK(granted(counts, share, 10'000, 5) == 1);
}

TEST_CASE("retry budget: of a cluster, over its configurations") {
  Rig rig(3);
  rig.cluster.retry_budget = budget(50, 0);
  const auto failing = [&] {
    const auto selection = rig.select();
    int attempts = 0;
    Selection::Retry retry = Selection::Retry::granted;
    while (retry == Selection::Retry::granted && selection->next()) {
      ++attempts;
      selection->finish(Selection::Result::released);
      retry = selection->take_retry();
    }
    return std::make_pair(attempts, retry);
  };
  // One request: half a retry.
  CHECK(failing() == std::make_pair(1, Selection::Retry::refused_first));
  CHECK(failing() == std::make_pair(2, Selection::Retry::refused));
  CHECK(failing() == std::make_pair(1, Selection::Retry::refused));
  // The counts stay when the servers change.
  rig.build();
  CHECK(failing() == std::make_pair(2, Selection::Retry::refused));
  // One line in a second.
  rig.milliseconds += 1000;
  CHECK(failing() == std::make_pair(1, Selection::Retry::refused_first));
}

TEST_CASE("retry budget: without one there is no limit") {
  Rig rig(3);
  const auto selection = rig.select();
  for (int i = 0; i < 1000; ++i) CHECK(selection->take_retry() == Selection::Retry::granted);
}

TEST_CASE("retry budget: one for all workers of a zone") {
  const auto zone =
      std::make_shared<zone::Zone>(zone::ZoneRequest{"backend", 64 * 1024, "http upstream 1", ""});
  REQUIRE(zone->attach_private());
  Rig one(3), other(3), stranger(3);
  stranger.cluster.name = "stranger";
  for (Rig* rig : {&one, &other, &stranger}) {
    rig->cluster.zone = zone;
    rig->cluster.retry_budget = budget(10, 0);
  }
  for (int i = 0; i < 10; ++i) one.one();
  const auto first = one.select();
  const auto second = other.select();
  const auto third = stranger.select();
  CHECK(second->take_retry() == Selection::Retry::granted);
  CHECK(first->take_retry() == Selection::Retry::refused_first);
  CHECK(third->take_retry() == Selection::Retry::refused_first);
  SECTION("an emptied zone begins anew") {
    {
      zone::Lock lock(*zone);
      lock.empty();
    }
    for (int i = 0; i < 10; ++i) other.one();
    CHECK(first->take_retry() == Selection::Retry::granted);
    CHECK(first->take_retry() == Selection::Retry::refused);
  }
}
