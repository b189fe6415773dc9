#include "engine/net/connector.h"

#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/event/loop.h"
#include "engine/net/socket_options.h"

namespace weir::net {
namespace {

int set_option(int descriptor, int level, int name) {
  int on = 1;
  return ::setsockopt(descriptor, level, name, &on, sizeof(on)) == 0 ? 0 : errno;
}

ConnectResult failed(int error, const char* call) {
  return {ConnectResult::State::failed, error, call};
}

ConnectResult bind_source(int descriptor, const Address& source, bool transparent) {
  bool v6 = source.family() == AF_INET6;
  if (transparent) {
    int error = v6 ? set_option(descriptor, IPPROTO_IPV6, IPV6_TRANSPARENT)
                   : set_option(descriptor, IPPROTO_IP, IP_TRANSPARENT);
    if (error != 0)
      return failed(error, v6 ? "setsockopt(IPV6_TRANSPARENT)" : "setsockopt(IP_TRANSPARENT)");
  }
  // The port is chosen at connect, when the peer is known: 64 thousand connections a peer, not in
  // all.
  if (source.is_ip() && source.port() == 0)
    set_option(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  if (::bind(descriptor, source.data(), source.size()) != 0) return failed(errno, "bind");
  return {};
}

ConnectResult prepare(int descriptor, const Address& peer, const ConnectOptions& options) {
  if (options.receive_buffer > 0) {
    if (int error = set_receive_buffer(descriptor, options.receive_buffer); error != 0) {
      return failed(error, "setsockopt(SO_RCVBUF)");
    }
  }
  if (options.send_buffer > 0) {
    if (int error = set_send_buffer(descriptor, options.send_buffer); error != 0) {
      return failed(error, "setsockopt(SO_SNDBUF)");
    }
  }
  if (options.keepalive) {
    if (int error = set_keepalive(descriptor, true); error != 0) {
      return failed(error, "setsockopt(SO_KEEPALIVE)");
    }
  }
  if (options.bind.empty() || peer.is_unix()) return {};
  return bind_source(descriptor, options.bind, options.transparent);
}

}  // namespace

ConnectResult start_connect(Loop& loop, Socket& socket, SocketHandler* handler, const Address& peer,
                            const ConnectOptions& options) {
  socket.close();
  int descriptor = ::socket(peer.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return failed(errno, "socket()");
  ConnectResult result = prepare(descriptor, peer, options);
  if (result.state == ConnectResult::State::failed) {
    ::close(descriptor);
    return result;
  }
  // Connected first and watched then: an unconnected socket would report a hang-up.
  if (::connect(descriptor, peer.data(), peer.size()) == 0) {
    result.state = ConnectResult::State::connected;
  } else if (errno != EINPROGRESS) {
    result = {ConnectResult::State::refused, errno, "connect()"};
    ::close(descriptor);
    return result;
  }
  if (!socket.open(loop, descriptor, handler)) return failed(errno, "epoll_ctl()");
  if (result.state == ConnectResult::State::pending) socket.expect_connect();
  return result;
}

DatagramSocket open_datagram_socket(const Address& peer, const ConnectOptions& options) {
  const int descriptor = ::socket(peer.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return {-1, failed(errno, "socket()")};
  ConnectOptions plain = options;
  plain.keepalive = false;
  ConnectResult result = prepare(descriptor, peer, plain);
  if (result.state == ConnectResult::State::failed) {
    ::close(descriptor);
    return {-1, result};
  }
  if (::connect(descriptor, peer.data(), peer.size()) != 0) {
    const int error = errno;
    ::close(descriptor);
    return {-1, {ConnectResult::State::refused, error, "connect()"}};
  }
  return {descriptor, {ConnectResult::State::connected, 0, ""}};
}

std::string failure_text(const ConnectResult& result, const Address& peer,
                         const ConnectOptions& options) {
  std::string call = result.call;
  if (call == "connect()") return "connect() to " + peer.text() + " failed";
  if (call == "bind") return "bind(" + options.bind.text() + ") failed";
  return call + " failed";
}

}  // namespace weir::net
