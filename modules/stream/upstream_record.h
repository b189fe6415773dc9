#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir::stream {

// What one attempt at one peer came to. Times in milliseconds since the attempt began, -1: never.
struct UpstreamAttempt {
  std::string peer;  // text of the peer, or the group's name when no peer was alive
  int64_t connect_time = -1;
  int64_t first_byte_time = -1;
  int64_t session_time = -1;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
};

// The facts behind $upstream_…, of every attempt in order. A context of the session.
struct UpstreamRecord {
  std::vector<UpstreamAttempt> attempts;
  bool retry_refused = false;  // by `retry_budget`
};

}  // namespace weir::stream
