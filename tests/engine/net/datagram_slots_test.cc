#include "engine/net/datagram_slots.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "engine/net/listener.h"

namespace weir::net {
namespace {

struct Sockets {
  std::vector<int> descriptors;
  ~Sockets() {
    for (const int descriptor : descriptors) ::close(descriptor);
  }
  // Another socket at the first one's address.
  Address add(const Address& at) {
    ListenOptions options;
    options.address = at;
    options.type = SOCK_DGRAM;
    options.reuseport = true;
    options.ipv6only = false;
    const OpenedListener opened = open_listener(options);
    REQUIRE(opened.descriptor >= 0);
    descriptors.push_back(opened.descriptor);
    return Address::local_of(opened.descriptor);
  }
  // Which of them has the datagram.
  size_t receiver() const {
    std::vector<pollfd> waits;
    for (const int descriptor : descriptors) waits.push_back({descriptor, POLLIN, 0});
    REQUIRE(::poll(waits.data(), waits.size(), 5000) == 1);
    for (size_t i = 0; i < waits.size(); ++i) {
      if (!waits[i].revents) continue;
      char byte;
      REQUIRE(::recv(descriptors[i], &byte, 1, 0) == 1);
      return i;
    }
    return waits.size();
  }
};

// A datagram from a new port; who sent it.
Address send_one(const Address& to, const char* from) {
  const Address source = *Address::parse_host(from);
  const int descriptor = ::socket(source.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(descriptor >= 0);
  REQUIRE(::bind(descriptor, source.data(), source.size()) == 0);
  const Address peer = Address::local_of(descriptor);
  REQUIRE(::sendto(descriptor, "x", 1, 0, to.data(), to.size()) == 1);
  ::close(descriptor);
  return peer;
}

void check_rule(const Address& listening, const Address& to, const char* from) {
  Sockets sockets;
  Address at = sockets.add(listening);
  for (int i = 0; i < 3; ++i) sockets.add(at);
  Address target = to;
  target.set_port(at.port());
  for (const uint32_t slots : {4u, 2u, 1u, 3u}) {
    REQUIRE(set_datagram_slots(sockets.descriptors[0], slots) == 0);
    std::set<size_t> used;
    for (int i = 0; i < 40; ++i) {
      const Address peer = send_one(target, from);
      const size_t slot = sockets.receiver();
      CHECK(slot == datagram_slot(peer, slots));
      used.insert(slot);
    }
    CHECK(used.size() == slots);
  }
}

}  // namespace

TEST_CASE("the kernel and we agree on the slot of a client") {
  const Address loopback4 = *Address::parse_host("127.0.0.1");
  const Address loopback6 = *Address::parse_host("::1");
  check_rule(loopback4, loopback4, "127.0.0.1");
  check_rule(loopback4, loopback4, "127.200.3.4");
  check_rule(loopback6, loopback6, "::1");
  check_rule(*Address::parse_host("::"), loopback4, "127.0.0.9");
}

TEST_CASE("a mapped address has the slot of the address in it") {
  const Address plain = *Address::parse_host("10.1.2.3", 5353);
  const Address mapped = *Address::parse_host("::ffff:10.1.2.3", 5353);
  for (uint32_t slots = 1; slots < 9; ++slots) {
    CHECK(datagram_slot(plain, slots) == datagram_slot(mapped, slots));
    CHECK(datagram_slot(plain, slots) < slots);
  }
}

}  // namespace weir::net
