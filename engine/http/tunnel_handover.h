#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/slice.h"
#include "engine/http/connection_facts.h"
#include "engine/net/stream.h"

namespace weir::http {

class Exchange;
class Request;

// What is known only when a tunnel ends.
struct TunnelEnd {
  uint64_t sent_to_client = 0;  // raw bytes, after the 101 head
  uint64_t received_from_client = 0;
  uint64_t sent_to_upstream = 0;
  uint64_t received_from_upstream = 0;
  uint64_t now = 0;       // Loop::now()
  int64_t wall = 0;       // milliseconds since the epoch
  bool completed = true;  // $request_completion
};

// One log line of a tunnel: text rendered when the tunnel began, with holes for what TunnelEnd
// brings. Made by a handler in Hooks::tunnel_log_handlers; refers to nothing of its request or
// generation.
class LateLog {
 public:
  virtual ~LateLog() = default;
  virtual void finish(const TunnelEnd& end) = 0;
};

// The log phase of a tunnel, to come. finish() is called exactly once; destroying it without that
// logs nothing. Holds the exchange (and with it the generation) only when a log handler could not
// render its lines early.
class PendingLog {
 public:
  PendingLog();
  ~PendingLog();
  PendingLog(PendingLog&&) noexcept;
  PendingLog& operator=(PendingLog&&) noexcept;
  void finish(const TunnelEnd& end);
  bool holds_exchange() const { return exchange_ != nullptr; }

 private:
  friend class Exchange;
  std::vector<std::unique_ptr<LateLog>> lines_;
  std::unique_ptr<Exchange> exchange_;
};

// A client connection that has become raw bytes (after 101): everything that the relay needs, and
// nothing of the request. From Request::begin_tunnel(); the session is gone once the handler has
// returned PhaseResult::done().
struct TunnelHandover {
  std::unique_ptr<net::Stream> stream;  // set_handler() before returning to the loop
  Chain early_bytes;  // came from the client after the request: to the upstream, first
  Chain unsent;       // the rest of the 101 head and what follows it: to the client, first
  std::unique_ptr<ConnectionFacts> facts;
  PendingLog log;
  std::shared_ptr<const void> log_use;  // Generation::log_use
};

}  // namespace weir::http
