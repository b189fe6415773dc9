#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <vector>

#include "tools/bench/wire.h"

// What the backends share: a port that the kernel chose, and one thread that serves its
// connections.
namespace weir::bench {

class Server {
 public:
  virtual ~Server() = default;

  // Prints the port, then serves until standard input ends; the status of the program.
  int run() {
    if (!listen()) return 1;
    watch(epoll_, listener_, EPOLLIN, &listener_);
    watch(epoll_, datagrams_, EPOLLIN, &datagrams_);
    watch(epoll_, STDIN_FILENO, EPOLLIN, nullptr);
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        void* target = events[static_cast<size_t>(i)].data.ptr;
        if (target == nullptr) return 0;
        if (target == &listener_) {
          accept_all();
        } else if (target == &datagrams_) {
          return_datagrams();
        } else {
          ready(target);
        }
      }
      round_ended();
    }
  }

 protected:
  // A connection came, non-blocking: watch() it.
  virtual void accepted(int descriptor) = 0;
  // Something came (or may be sent) for what was given to watch(). Level-triggered: what is not
  // read now is told again.
  virtual void ready(void* watched) = 0;
  // All events that came at once are done: none of them names what is freed now.
  virtual void round_ended() {}

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<char> buffer_ = std::vector<char>(size_t{64} << 10);

 private:
  bool listen() {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0) return false;
    if (::listen(listener_, 8192) != 0) return false;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    datagrams_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (bind(datagrams_, reinterpret_cast<sockaddr*>(&address), length) != 0) return false;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return true;
  }

  void accept_all() {
    for (;;) {
      const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (descriptor < 0) return;
      const int on = 1;
      setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      accepted(descriptor);
    }
  }

  // Datagrams to the same port are sent back.
  void return_datagrams() {
    for (;;) {
      sockaddr_in peer{};
      socklen_t length = sizeof peer;
      auto* address = reinterpret_cast<sockaddr*>(&peer);
      const ssize_t count =
          recvfrom(datagrams_, buffer_.data(), buffer_.size(), 0, address, &length);
      if (count < 0) return;
      (void)sendto(datagrams_, buffer_.data(), static_cast<size_t>(count), 0, address, length);
    }
  }

  int listener_ = -1;
  int datagrams_ = -1;
};

}  // namespace weir::bench
