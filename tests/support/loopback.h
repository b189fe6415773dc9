#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "engine/event/loop.h"

// Peers on loopback in the test's own process. While they wait for something the loop under test
// runs.
namespace weir::test {

// Runs the loop until `what` holds; false after ten seconds without.
template <class Condition>
bool run_until(Loop& loop, Condition what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!what()) {
    if (std::chrono::steady_clock::now() > end) return false;
    loop.run_once(1);
  }
  return true;
}
// Runs the loop for that long: to see that something does not happen, or to let a timer expire.
inline void run_for(Loop& loop, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (std::chrono::steady_clock::now() < end) loop.run_once(1);
}

// The far end of a connection, non-blocking.
class Peer {
 public:
  Peer(Loop& loop, int descriptor) : loop_(loop), descriptor_(descriptor) {}
  ~Peer() { close(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void send(std::string_view text) {
    const bool all = run_until(loop_, [&] {
      const ssize_t count = ::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL);
      if (count > 0) text.remove_prefix(static_cast<size_t>(count));
      if (count < 0 && errno != EAGAIN) return true;
      return text.empty();
    });
    REQUIRE(all);
  }
  // Takes what is there without running the loop.
  void take() {
    char buffer[65536];
    while (!ended && !failed) {
      const ssize_t count = ::recv(descriptor_, buffer, sizeof buffer, 0);
      if (count > 0) {
        received.append(buffer, static_cast<size_t>(count));
      } else if (count == 0) {
        ended = true;
      } else {
        failed = errno != EAGAIN;
        return;
      }
    }
  }
  // Everything received until `end` stands in it; takes it out of `received`.
  std::string until(std::string_view end) {
    size_t at = std::string::npos;
    const bool there = run_until(loop_, [&] {
      take();
      at = received.find(end);
      return at != std::string::npos || ended || failed;
    });
    INFO("received: " << received << " waiting for: " << end);
    REQUIRE(there);
    REQUIRE(at != std::string::npos);
    std::string text = received.substr(0, at + end.size());
    received.erase(0, at + end.size());
    return text;
  }
  // Everything until the other side has closed.
  std::string until_end() {
    const bool over = run_until(loop_, [&] {
      take();
      return ended || failed;
    });
    REQUIRE(over);
    return std::move(received);
  }
  void finish() { ::shutdown(descriptor_, SHUT_WR); }
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  int descriptor() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

  std::string received;
  bool ended = false;
  bool failed = false;

 private:
  Loop& loop_;
  int descriptor_;
};

// A listening socket on a port of the kernel's choice.
class Backend {
 public:
  explicit Backend(Loop& loop) : loop_(loop) {
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(descriptor_ >= 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(descriptor_, 16) == 0);
    socklen_t size = sizeof address;
    ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~Backend() { close(); }
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  std::unique_ptr<Peer> accept() {
    int accepted = -1;
    const bool came = run_until(loop_, [&] {
      accepted = ::accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      return accepted >= 0;
    });
    REQUIRE(came);
    return std::make_unique<Peer>(loop_, accepted);
  }
  // Has anybody connected who was not accepted yet?
  bool waiting() const {
    pollfd what{descriptor_, POLLIN, 0};
    return ::poll(&what, 1, 0) > 0;
  }
  // From now on connections are refused.
  void close() {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = -1;
  }
  uint16_t port() const { return port_; }
  std::string text() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  Loop& loop_;
  int descriptor_ = -1;
  uint16_t port_ = 0;
};

// Two ends of a socket pair: one to hand to what is tested, one as a Peer.
inline std::unique_ptr<Peer> make_pair(Loop& loop, int& other) {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  other = pair[1];
  return std::make_unique<Peer>(loop, pair[0]);
}

}  // namespace weir::test
