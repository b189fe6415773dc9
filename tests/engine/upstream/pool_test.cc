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
  bool has_room() const override { return room; }
  void peer_closed() { leave_pool(); }
  int number;
  bool room = true;
  std::string& gone;
};

std::unique_ptr<Fake> make_fake(Loop& loop, int number, std::string& gone, uint16_t port = 8001) {
  auto fake = std::make_unique<Fake>(number, gone);
  fake->address = peer_address(port);
  fake->traits = "plain";
  fake->opened_at = loop.now();  // the clock counts from the start of the machine
  return fake;
}

int number_of(const PooledConnection* connection) {
  return connection ? static_cast<const Fake*>(connection)->number : 0;
}

}  // namespace

TEST_CASE("the connection used last is used first", "[upstream]") {
  Loop loop;
  std::string gone;
  Pool pool(loop);
  const KeepalivePolicy policy;
  for (int i = 1; i <= 3; ++i) pool.give(policy, pool.add(make_fake(loop, i, gone)));
  CHECK(pool.idle() == 3);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 3);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 2);
  CHECK(number_of(pool.take(policy, peer_address(8002), "plain")) == 0);
  CHECK(number_of(pool.take(policy, peer_address(8001), "other")) == 0);
  CHECK(pool.idle() == 1);
  CHECK(pool.in_use() == 2);
}

TEST_CASE("a connection in use is not given to another", "[upstream]") {
  Loop loop;
  std::string gone;
  {
    Pool pool(loop);
    pool.add(make_fake(loop, 1, gone));
    CHECK(number_of(pool.take({}, peer_address(8001), "plain")) == 0);
    CHECK(gone.empty());
  }
  CHECK(gone == "1");
}

TEST_CASE("one that can be shared is, while it has room and is fresh", "[upstream]") {
  Loop loop;
  std::string gone;
  Pool pool(loop);
  KeepalivePolicy policy;
  auto made = make_fake(loop, 1, gone);
  Fake* shared = made.get();
  shared->shareable = true;
  pool.add(std::move(made));
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 1);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 1);
  CHECK(number_of(pool.take(policy, peer_address(8001), "other")) == 0);
  shared->room = false;
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 0);
  shared->room = true;
  shared->uses = static_cast<uint32_t>(policy.requests);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 0);
  shared->uses = 1;
  pool.give(policy, *shared);
  CHECK(pool.idle() == 1);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 1);
  CHECK(number_of(pool.take(policy, peer_address(8001), "plain")) == 1);
  CHECK(pool.in_use() == 1);
  shared->uses = static_cast<uint32_t>(policy.requests);
  pool.give(policy, *shared);
  CHECK(gone == "1");
}

TEST_CASE("a full pool closes the oldest", "[upstream]") {
  Loop loop;
  std::string gone;
  {
    Pool pool(loop);
    KeepalivePolicy policy;
    policy.connections = 2;
    for (int i = 1; i <= 3; ++i) pool.give(policy, pool.add(make_fake(loop, i, gone)));
    CHECK(gone == "1");
    CHECK(pool.idle() == 2);
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
  pool.give(policy, pool.add(std::move(used)));
  CHECK(gone == "1");
  policy.enabled = false;
  pool.give(policy, pool.add(make_fake(loop, 2, gone)));
  CHECK(gone == "12");
  CHECK(pool.idle() == 0);
}

TEST_CASE("an idle connection leaves when its peer closes or its time is over", "[upstream]") {
  Loop loop;
  Pool pool(loop);
  std::string gone;
  KeepalivePolicy policy;
  auto closing = make_fake(loop, 1, gone);
  Fake* raw = closing.get();
  pool.give(policy, pool.add(std::move(closing)));
  raw->peer_closed();
  CHECK(gone == "1");
  CHECK(pool.idle() == 0);

  policy.timeout_milliseconds = 10;
  pool.give(policy, pool.add(make_fake(loop, 2, gone)));
  for (int i = 0; i < 100 && pool.idle(); ++i) loop.run_once(10);
  CHECK(gone == "12");
}
