#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "tools/bench/wire.h"

// What the load generators share: connections to a port of this machine, exchanges on them, and the
// words they have with whoever started them (see client.cc).
namespace weir::bench {

[[noreturn]] inline void wrong(const std::string& what) {
  printf("wrong: %s\n", what.c_str());
  fflush(stdout);
  _exit(1);
}

class Generator {
 public:
  virtual ~Generator() = default;

  // Makes one exchange in every place, says "ready", then works through the rounds asked for.
  void run() {
    // Some at a time, so that no listen queue runs over.
    for (size_t first = 0; first < connections_; first += 100) {
      const size_t last = std::min(first + 100, connections_);
      for (size_t i = first; i < last; ++i) open(i);
      work();
    }
    printf("ready\n");
    fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
      const auto start = std::chrono::steady_clock::now();
      to_start_ = std::stoul(line);
      for (size_t i = 0; i < places_ && to_start_ > 0; ++i) {
        --to_start_;
        next(i);
      }
      all_begun();
      work();
      const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
      printf("done %.6f\n", time.count());
      fflush(stdout);
    }
  }

 protected:
  // `places`: how many exchanges are under way at a time, on all connections.
  Generator(uint16_t port, size_t connections, size_t places)
      : connections_(connections), places_(places) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address_.sin_port = htons(port);
  }

  // Opens a connection and begins the first exchange in each of its places.
  virtual void open(size_t connection) = 0;
  // Begins the next exchange in a place that has had its first.
  virtual void next(size_t place) = 0;
  // Something came (or may be sent) for what was given to watch().
  virtual void ready(void* watched) = 0;
  // The first exchanges of a round have begun.
  virtual void all_begun() {}

  // A connected socket of SOCK_STREAM or SOCK_DGRAM.
  int connect(int type) {
    const int descriptor = socket(AF_INET, type, 0);
    const int on = 1;
    if (type == SOCK_STREAM) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (::connect(descriptor, reinterpret_cast<sockaddr*>(&address_), sizeof address_) != 0) {
      if (errno != EINTR) wrong(std::string("connect: ") + strerror(errno));
    }
    return descriptor;
  }

  // An exchange has begun.
  void begun() { ++in_flight_; }
  // One has ended; true: the next one is wanted in its place.
  bool ended() {
    --in_flight_;
    if (to_start_ == 0) return false;
    --to_start_;
    return true;
  }
  // The next letter of messages that differ from each other.
  char letter() { return static_cast<char>('a' + (letters_++ % 23)); }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  const std::string pattern_ = make_pattern();
  std::vector<char> buffer_ = std::vector<char>(size_t{256} << 10);

 private:
  // Until nothing is in flight any more.
  void work() {
    std::array<epoll_event, 256> events;
    while (in_flight_ > 0) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 30000);
      if (count == 0) wrong("no answer for 30 seconds");
      for (int i = 0; i < count; ++i) ready(events[static_cast<size_t>(i)].data.ptr);
    }
  }

  sockaddr_in address_{};
  size_t connections_;
  size_t places_;
  size_t letters_ = 0;
  size_t to_start_ = 0;
  size_t in_flight_ = 0;
};

}  // namespace weir::bench
