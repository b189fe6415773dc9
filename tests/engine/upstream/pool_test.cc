#include "engine/upstream/pool.h"

#include <catch2/catch.hpp>
#include <string>

using namespace weir;
using namespace weir::upstream;

namespace {

net::Address peer_address(uint16_t port) {
  return *net::Address::parse_host("127.0.0.1", port);
}

struct Fake final : PooledConnection {
  Fake(int number, std::string& gone) : number(number), gone(gone) {}
  ~Fake() override { gone += std::to_string(number); }
  void peer_closed() { leave_pool(); }
  int number;
  std::string& gone;
};

std::unique_ptr<Fake> make_fake(Loop& loop, int number, std::string& gone, uint16_t port = 8001) {
  auto fake = std::make_unique<Fake>(number, gone);
  fake->address = peer_address(port);
  fake->traits = "plain";
  fake->opened_at = loop.now();  // the clock counts from the start of the machine
  return fake;
}

int number_of(const std::unique_ptr<PooledConnection>& connection) {
  return connection ? static_cast<Fake&>(*connection).number : 0;
}

}  // namespace

TEST_CASE("the connection used last is used first", "[upstream]") {
  Loop loop;
  Pool pool(loop);
  std::string gone;
  const KeepalivePolicy policy;
  for (int i = 1; i <= 3; ++i) pool.give(policy, make_fake(loop, i, gone));
  CHECK(number_of(pool.take(peer_address(8001), "plain")) == 3);
  CHECK(number_of(pool.take(peer_address(8001), "plain")) == 2);
  CHECK(number_of(pool.take(peer_address(8002), "plain")) == 0);
  CHECK(number_of(pool.take(peer_address(8001), "other")) == 0);
  CHECK(pool.size() == 1);
}

TEST_CASE("a full pool closes the oldest", "[upstream]") {
  Loop loop;
  std::string gone;
  {
    Pool pool(loop);
    KeepalivePolicy policy;
    policy.connections = 2;
    for (int i = 1; i <= 3; ++i) pool.give(policy, make_fake(loop, i, gone));
    CHECK(gone == "1");
    CHECK(pool.size() == 2);
  }
  CHECK(gone.size() == 3);
}

TEST_CASE("what is used up or too old is not kept", "[upstream]") {
  Loop loop;
  Pool pool(loop);
  std::string gone;
  KeepalivePolicy policy;
  policy.requests = 3;
  auto used = make_fake(loop, 1, gone);
  used->uses = 3;
  pool.give(policy, std::move(used));
  CHECK(gone == "1");
  policy.enabled = false;
  pool.give(policy, make_fake(loop, 2, gone));
  CHECK(gone == "12");
  CHECK(pool.size() == 0);
}

TEST_CASE("an idle connection leaves when its peer closes or its time is over", "[upstream]") {
  Loop loop;
  Pool pool(loop);
  std::string gone;
  KeepalivePolicy policy;
  auto closing = make_fake(loop, 1, gone);
  Fake* raw = closing.get();
  pool.give(policy, std::move(closing));
  raw->peer_closed();
  CHECK(gone == "1");
  CHECK(pool.size() == 0);

  policy.timeout_milliseconds = 10;
  pool.give(policy, make_fake(loop, 2, gone));
  for (int i = 0; i < 100 && pool.size(); ++i) loop.run_once(10);
  CHECK(gone == "12");
}
