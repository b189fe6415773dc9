#pragma once

#include <string>
#include <string_view>

namespace weir::http {

// The handshake of RFC 6455, for bridges that make it on behalf of a client (RFC 8441 section 5).

// A fresh Sec-WebSocket-Key: 16 random bytes in base64.
std::string make_websocket_key();
// What Sec-WebSocket-Accept has to be (RFC 6455 section 4.2.2).
std::string websocket_accept(std::string_view key);

}  // namespace weir::http
