#pragma once

#include <cstdint>
#include <memory>

#include "engine/async/task.h"
#include "engine/base/slice.h"
#include "engine/net/stream.h"

namespace weir::http {

class Request;

// Relays raw bytes between one stream of a client's connection (RFC 8441) and an upstream that has
// switched protocols: the request's body goes up, what comes down is the response's body. The head
// of the response was sent before. Unlike a tunnel it keeps its exchange, since the client's
// connection goes on.
struct BridgeOptions {
  uint64_t read_timeout = 60000;  // milliseconds without a byte in either direction
};
enum class BridgeEnd : uint8_t { both_ended, client_gone, upstream_failed, timed_out };
struct BridgeResult {
  BridgeEnd end = BridgeEnd::both_ended;
  int error = 0;          // upstream_failed: errno
  uint64_t sent = 0;      // to the upstream
  uint64_t received = 0;  // from it
};
// `early` came from the upstream behind its head.
Task<BridgeResult> run_bridge(Request& request, std::unique_ptr<net::Stream> upstream, Chain early,
                              BridgeOptions options);

}  // namespace weir::http
