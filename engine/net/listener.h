#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/event/timer.h"
#include "engine/event/watcher.h"
#include "engine/net/address.h"

namespace weir {
class Loop;
}

namespace weir::net {

// so_keepalive=on|off|[idle]:[interval]:[count]; a zero keeps the system's value.
struct KeepaliveOption {
  enum class Mode : uint8_t { system, on, off } mode = Mode::system;
  int idle_seconds = 0;
  int interval_seconds = 0;
  int count = 0;
  bool operator==(const KeepaliveOption&) const = default;
};

// The parameters of one `listen` that concern the socket.
struct ListenOptions {
  Address address;
  int type = SOCK_STREAM;  // SOCK_DGRAM for `listen … udp`
  int backlog = 511;
  int receive_buffer = 0;  // rcvbuf=, 0: the system's
  int send_buffer = 0;     // sndbuf=
  int fast_open = 0;       // fastopen=number; 0: off
  bool reuseport = false;
  bool ipv6only = true;
  bool deferred = false;
  bool transparent = false;  // for datagrams answered from a foreign address
  KeepaliveOption keepalive;
  bool operator==(const ListenOptions&) const = default;
};

// A failed call, for messages: `what` is nginx's text up to the errno, which the log adds:
// "bind() to 0.0.0.0:80 failed" + " (98: Address already in use)".
struct CallFailure {
  std::string what;
  int error = 0;
};

struct OpenedListener {
  int descriptor = -1;          // -1: `failure` says why
  CallFailure failure;          // of the call that mattered
  bool address_in_use = false;  // worth trying again in a moment (nginx: five times, 500 ms apart)
  std::vector<CallFailure> ignored;  // options the kernel refused; the socket works without them
};

// Opens, binds and listens: non-blocking, close-on-exec. The file of a unix socket gets mode 0666;
// one that exists already is address_in_use.
OpenedListener open_listener(const ListenOptions& options);

// Gives a socket that is open already (kept through a reload, or inherited) the options that can
// change while it listens: backlog, buffers, keepalive, deferred accept, fast open. `before` is
// what it had. What is refused comes back.
std::vector<CallFailure> apply_changes(int descriptor, const ListenOptions& before,
                                       const ListenOptions& after);

// Could a socket opened with `before` serve `after`, given apply_changes? (Address, type,
// reuseport, ipv6only and transparent are fixed when it is bound.)
bool can_keep(const ListenOptions& before, const ListenOptions& after);

// Of the sockets that share the port of `descriptor` (SO_REUSEPORT), in the order in which they
// were bound, only the first `count` get new connections, by chance. The others keep what they
// have: nothing is lost when they are closed after a while. 0: all take part again, as the kernel
// divides them. 0 or an errno.
int steer_connections(int descriptor, unsigned count);

// Accepts on one listening socket, in one worker's loop. Does not own the descriptor.
class Acceptor {
 public:
  // Takes over `descriptor` (non-blocking, close-on-exec). `peer` is empty for an unnamed unix peer
  // in all but its family. May close the Acceptor, not destroy it.
  using Accepted = void (*)(void* owner, int descriptor, const Address& peer);
  // accept() failed in a way worth a line in the log: "accept4() failed" (aborted connections are
  // nginx's level error, a lack of descriptors crit, the rest alert).
  using Failed = void (*)(void* owner, int error);

  Acceptor(Accepted accepted, Failed failed, void* owner);
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  struct Options {
    // Several workers watch this very socket: wake one of them (EPOLLEXCLUSIVE).
    bool shared = false;
    // As many as there are (up to kMost) an event, instead of one.
    bool multi_accept = false;
    // How long to leave it alone when there are no descriptors left (accept_mutex_delay).
    uint64_t retry_milliseconds = 500;
  };
  static constexpr int kMost = 64;

  // 0 or an errno.
  int open(Loop& loop, int descriptor, Options options);
  void close();
  // Accepts all that wait. Of an acceptor that is closed next, and whose socket nobody else has.
  void accept_rest();
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

 private:
  static void ready(void* self, uint32_t events);
  static void retry(void* self);
  void accept_some(int limit);
  void watch();
  Accepted accepted_;
  Failed failed_;
  void* owner_;
  Loop* loop_ = nullptr;
  int descriptor_ = -1;
  Options options_;
  Watcher watcher_;
  Timer timer_;
};

}  // namespace weir::net
