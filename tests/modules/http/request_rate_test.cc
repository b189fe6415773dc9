#include "modules/http/request_rate.h"

#include <catch2/catch.hpp>
#include <string>

using namespace weir;
using namespace weir::http;
using Kind = RateVerdict::Kind;

namespace {

std::shared_ptr<RateZone> make_zone(uint64_t rate, uint64_t size = 64 * 1024) {
  auto made = std::make_shared<RateZone>();
  made->zone = std::make_shared<zone::Zone>(zone::ZoneRequest{"rate", size, "test", ""});
  REQUIRE(made->zone->attach_private());
  made->rate = rate;
  return made;
}

RateLimit limit_of(const std::shared_ptr<RateZone>& zone, uint64_t burst = 0, uint64_t delay = 0) {
  RateLimit limit;
  limit.zone = zone;
  limit.burst = burst;
  limit.delay = delay;
  return limit;
}

constexpr uint64_t kStart = 1'000'000;

}  // namespace

TEST_CASE("limit_req: a bucket leaks at its rate", "[limit_req]") {
  const RateLimit limit = limit_of(make_zone(10'000), 2000);  // 10 a second
  const std::vector<RateKey> keys{{&limit, "k"}};
  CHECK(count_request(keys, true, kStart).kind == Kind::pass);
  RateVerdict verdict = count_request(keys, true, kStart);
  CHECK(verdict.kind == Kind::delay);
  CHECK(verdict.delay == 100);
  CHECK(verdict.excess == 1000);
  verdict = count_request(keys, true, kStart + 50);
  CHECK(verdict.kind == Kind::delay);
  CHECK(verdict.excess == 1500);
  CHECK(verdict.delay == 150);
  verdict = count_request(keys, true, kStart + 50);
  CHECK(verdict.kind == Kind::reject);
  CHECK(verdict.excess == 2500);
  CHECK(count_request(keys, true, kStart + 10'000).kind == Kind::pass);
}

TEST_CASE("limit_req: delay= and nodelay let requests pass", "[limit_req]") {
  const auto zone = make_zone(1000);
  const RateLimit partly = limit_of(zone, 3000, 1000);
  const std::vector<RateKey> keys{{&partly, "k"}};
  CHECK(count_request(keys, true, kStart).kind == Kind::pass);
  CHECK(count_request(keys, true, kStart).kind == Kind::pass);
  CHECK(count_request(keys, true, kStart).delay == 1000);
  const RateLimit all = limit_of(zone, 2000, RateLimit::kNoDelay);
  const std::vector<RateKey> others{{&all, "other"}};
  for (int i = 0; i < 3; ++i) CHECK(count_request(others, true, kStart).kind == Kind::pass);
  CHECK(count_request(others, true, kStart).kind == Kind::reject);
}

TEST_CASE("limit_req: a request that one limit refuses counts in none", "[limit_req]") {
  const RateLimit wide = limit_of(make_zone(1000), 5000, RateLimit::kNoDelay);
  const RateLimit narrow = limit_of(make_zone(1000));
  const std::vector<RateKey> both{{&wide, "a"}, {&narrow, "b"}};
  CHECK(count_request(both, true, kStart).kind == Kind::pass);
  for (int i = 0; i < 20; ++i) CHECK(count_request(both, true, kStart).kind == Kind::reject);
  const std::vector<RateKey> one{{&wide, "a"}};
  CHECK(count_request(one, true, kStart).excess == 1000);
}

TEST_CASE("limit_req: the longest delay counts", "[limit_req]") {
  const RateLimit slow = limit_of(make_zone(1000), 5000);
  const RateLimit fast = limit_of(make_zone(10'000), 5000);
  const std::vector<RateKey> both{{&slow, "a"}, {&fast, "a"}};
  CHECK(count_request(both, true, kStart).kind == Kind::pass);
  const RateVerdict verdict = count_request(both, true, kStart);
  CHECK(verdict.delay == 1000);
  CHECK(verdict.limit == &slow);
}

TEST_CASE("limit_req: a full zone forgets its oldest", "[limit_req]") {
  const RateLimit limit = limit_of(make_zone(1000, 32 * 1024));
  for (int i = 0; i < 3000; ++i) {
    const std::string key = "key" + std::to_string(i);
    REQUIRE(count_request({{&limit, key}}, true, kStart).kind == Kind::pass);
    REQUIRE(count_request({{&limit, key}}, true, kStart).kind == Kind::reject);
  }
  CHECK(count_request({{&limit, "key0"}}, true, kStart).kind == Kind::pass);
  const std::string huge(60'000, 'x');
  CHECK(count_request({{&limit, huge}}, true, kStart).kind == Kind::no_memory);
}

TEST_CASE("limit_req: a clock that is a little behind counts nothing twice", "[limit_req]") {
  const RateLimit limit = limit_of(make_zone(1000), 9000, RateLimit::kNoDelay);
  const std::vector<RateKey> keys{{&limit, "k"}};
  count_request(keys, true, kStart);
  CHECK(count_request(keys, true, kStart - 500).excess == 1000);
  CHECK(count_request(keys, true, kStart + 500).excess == 1500);
}
