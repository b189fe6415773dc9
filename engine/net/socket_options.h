#pragma once

namespace weir::net {

// Options of connected sockets. 0 or an errno; on unix sockets those of TCP are refused by the
// kernel, so callers ask the address first.
int set_no_delay(int descriptor, bool on);
int set_cork(int descriptor, bool on);  // tcp_nopush
int set_keepalive(int descriptor, bool on);
int set_receive_buffer(int descriptor, int bytes);
int set_send_buffer(int descriptor, int bytes);
// What the kernel still holds of what was sent (lingering close, $tcpinfo): bytes, or -1.
int unsent_bytes(int descriptor);

}  // namespace weir::net
