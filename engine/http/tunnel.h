#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/slice.h"
#include "engine/log/error_log.h"
#include "engine/net/stream.h"
#include "engine/upstream/runtime.h"

namespace weir {
struct Worker;
}

namespace weir::http {

struct TunnelHandover;

struct TunnelOptions {
  uint64_t read_timeout = 60000;  // milliseconds without a byte in either direction; 0: none
  uint64_t send_timeout = 60000;  // milliseconds in which one side takes nothing
  uint64_t connection = 0;        // serial, for the log
  std::string context;            // of the request, for the log (Request::log_context)
  // Null: the main scope's, asked when there is something to log.
  std::shared_ptr<const ErrorLogTargets> error_log;
};

// Relays raw bytes between a client and an upstream until both have ended, one has failed, or
// nothing moved for too long; then writes the log lines of `client`. Bytes of `early` came from the
// upstream already (and were counted there) and go to the client first. `use` counts the connection
// at its peer. The tunnel owns itself from here on, and refers to no request and no generation.
void start_tunnel(Worker& worker, std::unique_ptr<TunnelHandover> client,
                  std::unique_ptr<net::Stream> upstream, Chain early,
                  std::unique_ptr<upstream::Selection> use, const TunnelOptions& options);

// Tunnels of this thread now.
size_t tunnel_count();
// Ends all of them (worker_shutdown_timeout, TERM).
void close_tunnels();

}  // namespace weir::http
