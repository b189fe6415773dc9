#pragma once

#include <cstdint>
#include <string>

#include "engine/event/socket.h"
#include "engine/net/address.h"

namespace weir {
class Loop;
}

namespace weir::net {

struct ConnectOptions {
  Address bind;              // proxy_bind; none: the system's choice. Port 0 is chosen at connect
  bool transparent = false;  // proxy_bind … transparent: the address need not be ours
  bool keepalive = false;    // proxy_socket_keepalive
  int receive_buffer = 0;    // proxy_socket_rcvbuf, 0: the system's
  int send_buffer = 0;
};

struct ConnectResult {
  enum class State : uint8_t {
    connected,  // at once (unix sockets)
    pending,    // on_writable() comes; Socket::connect_error() says how it went
    refused,    // connect() failed: this peer is not there, the next may be
    failed,     // no socket, or bind refused: not the peer's fault
  };
  State state = State::pending;
  int error = 0;
  const char* call = "";  // which failed: "socket()", "bind", "connect()", …
};

// Opens `socket` towards `peer`. The caller sets the time limit and calls connect_error().
// After refused and failed the socket is closed.
ConnectResult start_connect(Loop& loop, Socket& socket, SocketHandler* handler, const Address& peer,
                            const ConnectOptions& options);

// A connected datagram socket (non-blocking, close-on-exec), the caller's. State is connected, or
// says what failed as above; then there is no descriptor.
struct DatagramSocket {
  int descriptor = -1;
  ConnectResult result;
};
DatagramSocket open_datagram_socket(const Address& peer, const ConnectOptions& options);

// "connect() to 127.0.0.1:80 failed", "bind(10.0.0.1) failed", "socket() failed", …: what the log
// wants before the errno.
std::string failure_text(const ConnectResult& result, const Address& peer,
                         const ConnectOptions& options);

}  // namespace weir::net
