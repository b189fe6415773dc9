#include "engine/net/listener.h"

#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <limits>

#include "engine/event/loop.h"

namespace weir::net {
namespace {

bool set_option(int descriptor, int level, int name, int value) {
  return ::setsockopt(descriptor, level, name, &value, sizeof(value)) == 0;
}

// Sets options that a socket works without, and notes which were refused.
class OptionalSetter {
 public:
  OptionalSetter(int descriptor, std::string address, std::vector<CallFailure>& ignored)
      : descriptor_(descriptor), address_(std::move(address)), ignored_(ignored) {}
  void set(int level, int name, int value, const std::string& text) {
    if (set_option(descriptor_, level, name, value)) return;
    int error = errno;
    ignored_.push_back({"setsockopt(" + text + ") " + address_ + " failed, ignored", error});
  }

 private:
  int descriptor_;
  std::string address_;
  std::vector<CallFailure>& ignored_;
};

void set_buffers(OptionalSetter& setter, const ListenOptions& options) {
  if (options.receive_buffer > 0) {
    setter.set(SOL_SOCKET, SO_RCVBUF, options.receive_buffer,
               "SO_RCVBUF, " + std::to_string(options.receive_buffer));
  }
  if (options.send_buffer > 0) {
    setter.set(SOL_SOCKET, SO_SNDBUF, options.send_buffer,
               "SO_SNDBUF, " + std::to_string(options.send_buffer));
  }
}

void set_keepalive(OptionalSetter& setter, const KeepaliveOption& keepalive) {
  if (keepalive.mode == KeepaliveOption::Mode::system) return;
  bool on = keepalive.mode == KeepaliveOption::Mode::on;
  setter.set(SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0, on ? "SO_KEEPALIVE, 1" : "SO_KEEPALIVE, 0");
  auto set = [&](int name, int value, const char* text) {
    if (value > 0) setter.set(IPPROTO_TCP, name, value, text + std::to_string(value));
  };
  set(TCP_KEEPIDLE, keepalive.idle_seconds, "TCP_KEEPIDLE, ");
  set(TCP_KEEPINTVL, keepalive.interval_seconds, "TCP_KEEPINTVL, ");
  set(TCP_KEEPCNT, keepalive.count, "TCP_KEEPCNT, ");
}

OpenedListener fail(OpenedListener opened, std::string what) {
  int error = errno;
  if (opened.descriptor >= 0) ::close(opened.descriptor);
  opened.descriptor = -1;
  opened.failure = {std::move(what), error};
  return opened;
}

}  // namespace

OpenedListener open_listener(const ListenOptions& options) {
  OpenedListener opened;
  const Address& address = options.address;
  std::string text = address.text();
  opened.descriptor = ::socket(address.family(), options.type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (opened.descriptor < 0) return fail(std::move(opened), "socket() " + text + " failed");
  bool stream = options.type == SOCK_STREAM;
  if (address.is_ip()) {
    if (stream && !set_option(opened.descriptor, SOL_SOCKET, SO_REUSEADDR, 1)) {
      return fail(std::move(opened), "setsockopt(SO_REUSEADDR) " + text + " failed");
    }
    if (options.reuseport && !set_option(opened.descriptor, SOL_SOCKET, SO_REUSEPORT, 1)) {
      return fail(std::move(opened), "setsockopt(SO_REUSEPORT) " + text + " failed");
    }
    OptionalSetter setter(opened.descriptor, text, opened.ignored);
    if (address.family() == AF_INET6) {
      setter.set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6only ? 1 : 0, "IPV6_V6ONLY");
    }
    if (options.transparent) {
      if (address.family() == AF_INET6) {
        setter.set(IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT");
      } else {
        setter.set(IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT");
      }
    }
  }
  if (::bind(opened.descriptor, address.data(), address.size()) != 0) {
    opened.address_in_use = errno == EADDRINUSE;
    return fail(std::move(opened), "bind() to " + text + " failed");
  }
  if (!address.path().empty() && ::chmod(std::string(address.path()).c_str(), 0666) != 0) {
    return fail(std::move(opened), "chmod() \"" + std::string(address.path()) + "\" failed");
  }
  OptionalSetter setter(opened.descriptor, text, opened.ignored);
  set_buffers(setter, options);  // before listen: the window scale is fixed by then
  if (stream && ::listen(opened.descriptor, options.backlog) != 0) {
    opened.address_in_use = errno == EADDRINUSE;
    return fail(std::move(opened),
                "listen() to " + text + ", backlog " + std::to_string(options.backlog) + " failed");
  }
  ListenOptions plain;
  plain.backlog = options.backlog;
  plain.receive_buffer = options.receive_buffer;
  plain.send_buffer = options.send_buffer;
  for (auto& failure : apply_changes(opened.descriptor, plain, options)) {
    opened.ignored.push_back(std::move(failure));
  }
  return opened;
}

std::vector<CallFailure> apply_changes(int descriptor, const ListenOptions& before,
                                       const ListenOptions& after) {
  std::vector<CallFailure> ignored;
  OptionalSetter setter(descriptor, after.address.text(), ignored);
  if (before.receive_buffer != after.receive_buffer || before.send_buffer != after.send_buffer) {
    set_buffers(setter, after);
  }
  if (after.type != SOCK_STREAM) return ignored;
  if (!after.address.is_unix()) {
    if (before.keepalive != after.keepalive) set_keepalive(setter, after.keepalive);
    if (before.deferred != after.deferred) {
      setter.set(IPPROTO_TCP, TCP_DEFER_ACCEPT, after.deferred ? 1 : 0, "TCP_DEFER_ACCEPT");
    }
    if (before.fast_open != after.fast_open) {
      setter.set(IPPROTO_TCP, TCP_FASTOPEN, after.fast_open,
                 "TCP_FASTOPEN, " + std::to_string(after.fast_open));
    }
  }
  if (before.backlog != after.backlog && ::listen(descriptor, after.backlog) != 0) {
    int error = errno;
    ignored.push_back({"listen() to " + after.address.text() + ", backlog " +
                           std::to_string(after.backlog) + " failed, ignored",
                       error});
  }
  return ignored;
}

bool can_keep(const ListenOptions& before, const ListenOptions& after) {
  return before.address == after.address && before.type == after.type &&
         before.reuseport == after.reuseport && before.ipv6only == after.ipv6only &&
         before.transparent == after.transparent;
}

int steer_connections(int descriptor, unsigned count) {
  if (count == 0) {
    return set_option(descriptor, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0) ? 0 : errno;
  }
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
      BPF_STMT(BPF_RET | BPF_A, 0),
  };
  const sock_fprog program = {std::size(steps), steps};
  const int result = setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
                                static_cast<socklen_t>(sizeof program));
  return result == 0 ? 0 : errno;
}

Acceptor::Acceptor(Accepted accepted, Failed failed, void* owner)
    : accepted_(accepted),
      failed_(failed),
      owner_(owner),
      watcher_(&Acceptor::ready, this),
      timer_(&Acceptor::retry, this) {}

int Acceptor::open(Loop& loop, int descriptor, Options options) {
  close();
  uint32_t events = EPOLLIN | (options.shared ? uint32_t{EPOLLEXCLUSIVE} : 0);
  if (int error = watcher_.open(loop, descriptor, events); error != 0) return error;
  loop_ = &loop;
  descriptor_ = descriptor;
  options_ = options;
  return 0;
}

void Acceptor::close() {
  watcher_.close();
  timer_.cancel();
  descriptor_ = -1;
}

void Acceptor::watch() {
  uint32_t events = EPOLLIN | (options_.shared ? uint32_t{EPOLLEXCLUSIVE} : 0);
  // Out of memory for the watch: as out of descriptors, try again later.
  if (watcher_.open(*loop_, descriptor_, events) != 0)
    timer_.arm(*loop_, options_.retry_milliseconds);
}

void Acceptor::retry(void* self) {
  auto* acceptor = static_cast<Acceptor*>(self);
  if (acceptor->descriptor_ >= 0) acceptor->watch();
}

void Acceptor::ready(void* self, uint32_t) {
  auto* acceptor = static_cast<Acceptor*>(self);
  acceptor->accept_some(acceptor->options_.multi_accept ? kMost : 1);
}

void Acceptor::accept_rest() {
  accept_some(std::numeric_limits<int>::max());
}

void Acceptor::accept_some(int limit) {
  for (int i = 0; i < limit && descriptor_ >= 0; ++i) {
    sockaddr_storage storage;
    socklen_t size = sizeof(storage);
    auto* address = reinterpret_cast<sockaddr*>(&storage);
    int descriptor = ::accept4(descriptor_, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor >= 0) {
      accepted_(owner_, descriptor, Address(address, size));
      continue;
    }
    int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) return;
    if (error == EINTR) continue;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
      watcher_.close();
      timer_.arm(*loop_, options_.retry_milliseconds);
      failed_(owner_, error);
      return;
    }
    failed_(owner_, error);  // of that one connection: the next may be well
    if (error != ECONNABORTED) return;
  }
}

}  // namespace weir::net
