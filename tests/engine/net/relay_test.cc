#include "engine/net/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <optional>
#include <string>

#include "engine/event/loop.h"

using weir::Loop;
using weir::Slice;
using weir::SocketHandler;
using weir::net::Relay;
using weir::net::RelayOptions;
using weir::net::RelayOwner;
using weir::net::Stream;

namespace {

struct Idle final : SocketHandler {
  void on_readable() override {}
  void on_writable() override {}
};

// As socketpair(2), of TCP.
void connect_over_loopback(int (&ends)[2]) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* base = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener, base, size) == 0);
  REQUIRE(::listen(listener, 1) == 0);
  REQUIRE(::getsockname(listener, base, &size) == 0);
  ends[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::connect(ends[1], base, size) == 0);
  ends[0] = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  REQUIRE(ends[0] >= 0);
  ::close(listener);
}

int no_delay_of(const Stream& stream) {
  int value = -1;
  socklen_t size = sizeof value;
  ::getsockopt(stream.descriptor(), IPPROTO_TCP, TCP_NODELAY, &value, &size);
  return value;
}

// Two pairs of sockets with a relay between their inner ends; the outer ones are `client` and
// `server`.
struct Rig final : RelayOwner {
  explicit Rig(const RelayOptions& options = {}, int family = AF_UNIX) {
    client = open(family, first);
    server = open(family, second);
    relay.emplace(loop, *this, first, second, options);
  }
  ~Rig() {
    relay.reset();
    if (client >= 0) ::close(client);
    if (server >= 0) ::close(server);
  }
  int open(int family, Stream& inner) {
    int ends[2];
    if (family == AF_INET) {
      connect_over_loopback(ends);
    } else {
      REQUIRE(::socketpair(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    }
    REQUIRE(inner.open(loop, ends[0], &idle));
    return ends[1];
  }
  void relay_over(Over how, bool by_second, int) override {
    over = how;
    second_ended = by_second;
  }
  void relay_read_failed(bool by_second, int error) override {
    failed_second = by_second;
    read_error = error;
  }
  void turn(int rounds = 5) {
    for (int i = 0; i < rounds; ++i) loop.run_once(1);
  }
  static void send(int end, const std::string& text) {
    REQUIRE(::send(end, text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  // What has come by now; `ended` tells whether the end of the stream has, too.
  std::string receive(int end) {
    std::string text;
    char buffer[65536];
    while (true) {
      const ssize_t count = ::recv(end, buffer, sizeof buffer, MSG_DONTWAIT);
      ended = count == 0;
      if (count <= 0) return text;
      text.append(buffer, static_cast<size_t>(count));
    }
  }

  Loop loop;
  Idle idle;
  Stream first;
  Stream second;
  int client = -1;
  int server = -1;
  bool ended = false;
  std::optional<Over> over;
  bool second_ended = false;
  bool failed_second = false;
  int read_error = 0;
  std::optional<Relay> relay;
};

// Bytes that tell when some are lost or repeated.
std::string numbered(size_t size) {
  std::string text;
  text.reserve(size + 16);
  for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
  text.resize(size);
  return text;
}

// Sends `data` from `sent` on from one outer end while reading at the other, until all of it has
// come.
std::string pump(Rig& rig, int from, int to, const std::string& data, size_t sent = 0) {
  std::string got;
  for (int round = 0; round < 20000 && got.size() < data.size(); ++round) {
    while (sent < data.size()) {
      const ssize_t count =
          ::send(from, data.data() + sent, data.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count <= 0) break;
      sent += static_cast<size_t>(count);
    }
    rig.loop.run_once(1);
    got += rig.receive(to);
  }
  return got;
}

}  // namespace

TEST_CASE("relay: both ways, queued bytes first", "[net]") {
  Rig rig;
  rig.relay->to_second().push(Slice::copy_of("header "));
  rig.relay->start();
  rig.send(rig.client, "question");
  rig.turn();
  CHECK(rig.receive(rig.server) == "header question");
  rig.send(rig.server, "answer");
  rig.turn();
  CHECK(rig.receive(rig.client) == "answer");
  CHECK(rig.relay->first_received() == 8);
  CHECK(rig.relay->second_sent() == 15);
  CHECK(rig.relay->second_received() == 6);
  CHECK(rig.relay->first_sent() == 6);
  CHECK_FALSE(rig.over);
}

TEST_CASE("relay: queued bytes leave with what has come already", "[net]") {
  RelayOptions options;
  options.no_delay = true;
  Rig rig(options, AF_INET);
  rig.send(rig.client, "hello");
  rig.turn();  // the loop has heard of it
  rig.relay->to_second().push(Slice::copy_of("header "));
  rig.relay->start();
  rig.turn();
  CHECK(rig.receive(rig.server) == "header hello");
  CHECK(no_delay_of(rig.second) == 0);  // comes with a second write
}

TEST_CASE("relay: TCP_NODELAY comes with a side's second write, if at all", "[net]") {
  RelayOptions options;
  options.no_delay = GENERATE(true, false);
  Rig rig(options, AF_INET);
  rig.relay->start();
  rig.send(rig.client, "one");
  rig.turn();
  CHECK(rig.receive(rig.server) == "one");
  CHECK(no_delay_of(rig.second) == 0);
  rig.send(rig.client, "two");
  rig.turn();
  CHECK(rig.receive(rig.server) == "two");
  CHECK(no_delay_of(rig.second) == (options.no_delay ? 1 : 0));
  CHECK(no_delay_of(rig.first) == 0);
}

TEST_CASE("relay: an end is passed on, the other way goes on", "[net]") {
  Rig rig;
  rig.relay->start();
  rig.send(rig.client, "all");
  ::shutdown(rig.client, SHUT_WR);
  rig.turn();
  CHECK(rig.receive(rig.server) == "all");
  CHECK(rig.ended);
  CHECK_FALSE(rig.over);
  rig.send(rig.server, "late");
  rig.turn();
  CHECK(rig.receive(rig.client) == "late");
  ::shutdown(rig.server, SHUT_WR);
  rig.turn();
  REQUIRE(rig.over);
  CHECK(*rig.over == RelayOwner::Over::ended);
  CHECK(rig.second_ended);
}

TEST_CASE("relay: without half-close the first end is the end", "[net]") {
  RelayOptions options;
  options.half_close = false;
  Rig rig(options);
  rig.relay->start();
  rig.send(rig.server, "last words");
  ::shutdown(rig.server, SHUT_WR);
  rig.turn();
  CHECK(rig.receive(rig.client) == "last words");
  REQUIRE(rig.over);
  CHECK(rig.second_ended);
}

TEST_CASE("relay: bulk, with a reader that is slow at first", "[net]") {
  Rig rig;
  rig.relay->start();
  const std::string data = numbered(8 << 20);
  size_t sent = 0;
  for (int i = 0; i < 200; ++i) {  // nobody reads
    const ssize_t count =
        ::send(rig.client, data.data() + sent, data.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count > 0) sent += static_cast<size_t>(count);
    rig.loop.run_once(0);
  }
  // What is held is bounded: socket buffers and one piece.
  CHECK(sent < 4u << 20);
  // Not by CHECK, which would print them.
  const bool same_there = pump(rig, rig.client, rig.server, data, sent) == data;
  CHECK(same_there);
  CHECK(rig.relay->second_sent() == data.size());
  const bool same_back = pump(rig, rig.server, rig.client, data) == data;
  CHECK(same_back);
  rig.send(rig.client, "small again");
  rig.turn();
  CHECK(rig.receive(rig.server) == "small again");
}

TEST_CASE("relay: silence ends it", "[net]") {
  RelayOptions options;
  options.timeout = 30;
  Rig rig(options);
  rig.relay->start();
  const uint64_t begun = rig.loop.now();
  for (int i = 0; i < 2000 && !rig.over; ++i) rig.loop.run_once(5);
  REQUIRE(rig.over);
  CHECK(*rig.over == RelayOwner::Over::timed_out);
  CHECK(rig.loop.now() - begun >= 30);
}

TEST_CASE("relay: a rate holds back", "[net]") {
  RelayOptions options;
  options.first_rate = 1000;
  options.buffer = 100;
  Rig rig(options);
  rig.relay->start();
  rig.send(rig.client, std::string(5000, 'x'));
  rig.turn();
  CHECK(rig.relay->first_received() == 100);  // then a tenth of a second
  const uint64_t begun = rig.loop.now();
  for (int i = 0; i < 1000 && rig.loop.now() - begun < 300; ++i) rig.loop.run_once(5);
  CHECK(rig.relay->first_received() >= 200);
  CHECK(rig.relay->first_received() <= 1000);
}

TEST_CASE("relay: a pause that a rate makes is not silence", "[net]") {
  RelayOptions options;
  options.first_rate = 1000;
  options.timeout = 30;
  Rig rig(options);
  rig.relay->start();
  rig.send(rig.client, std::string(100, 'x'));
  const uint64_t begun = rig.loop.now();
  for (int i = 0; i < 2000 && !rig.over; ++i) rig.loop.run_once(5);
  REQUIRE(rig.over);
  CHECK(*rig.over == RelayOwner::Over::timed_out);
  CHECK(rig.loop.now() - begun >= 130);
}

TEST_CASE("relay: nobody takes it any more", "[net]") {
  Rig rig;
  rig.relay->start();
  ::close(rig.server);
  rig.server = -1;
  rig.send(rig.client, "lost");
  rig.turn(10);
  REQUIRE(rig.over);
  CHECK(*rig.over == RelayOwner::Over::failed);
}
