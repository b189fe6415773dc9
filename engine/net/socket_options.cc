#include "engine/net/socket_options.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace weir::net {
namespace {

int set(int descriptor, int level, int name, int value) {
  return ::setsockopt(descriptor, level, name, &value, sizeof(value)) == 0 ? 0 : errno;
}

}  // namespace

int set_no_delay(int descriptor, bool on) {
  return set(descriptor, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0);
}

int set_cork(int descriptor, bool on) {
  return set(descriptor, IPPROTO_TCP, TCP_CORK, on ? 1 : 0);
}

int set_keepalive(int descriptor, bool on) {
  return set(descriptor, SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0);
}

int set_receive_buffer(int descriptor, int bytes) {
  return set(descriptor, SOL_SOCKET, SO_RCVBUF, bytes);
}

int set_send_buffer(int descriptor, int bytes) {
  return set(descriptor, SOL_SOCKET, SO_SNDBUF, bytes);
}

int unsent_bytes(int descriptor) {
  int bytes = 0;
  return ::ioctl(descriptor, SIOCOUTQ, &bytes) == 0 ? bytes : -1;
}

}  // namespace weir::net
