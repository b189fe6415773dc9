#include "engine/net/byte_rate.h"

#include <catch2/catch.hpp>
#include <limits>

using weir::net::ByteRate;

TEST_CASE("byte rate: the seconds so far, the one under way included", "[net]") {
  const ByteRate rate(1000, 50'900);
  CHECK(rate.allowance(0, 50'900) == 1000);
  CHECK(rate.allowance(400, 50'999) == 600);
  CHECK(rate.allowance(1000, 50'999) == 0);
  CHECK(rate.wait(1000, 50'999) == 1);
  CHECK(rate.allowance(1000, 51'000) == 1000);
  // A piece that was larger than what was allowed is waited for.
  CHECK(rate.allowance(5000, 52'000) == 0);
  CHECK(rate.wait(5000, 52'000) == 2001);
  CHECK(rate.pause(500) == 500);
  CHECK(rate.pause(0) == 0);
}

TEST_CASE("byte rate: a clock that is set back, numbers that are too large", "[net]") {
  const ByteRate rate(1000, 50'000);
  CHECK(rate.allowance(0, 10'000) == 1000);
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const ByteRate large(kMost / 2, 0);
  CHECK(large.allowance(1, 10'000) == kMost - 1);
  CHECK(large.pause(kMost) <= 2000);
}
