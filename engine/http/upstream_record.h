#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/pooled.h"
#include "engine/http/message.h"

namespace weir::http {

// What one attempt at one peer came to. Times in milliseconds since the attempt began, -1: never.
struct UpstreamAttempt {
  // Text of the peer, or the group's name when no peer was alive. Empty: no attempt but the mark of
  // an internal redirect between two upstream requests (" : " in the lists).
  std::string_view peer;
  int status = 0;
  int64_t connect_time = -1;
  int64_t header_time = -1;
  int64_t response_time = -1;
  int64_t queue_time = -1;  // before the attempt
  uint64_t response_length = 0;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
};

// The facts behind $upstream_*: of every attempt, in order, and of the last response. Made in the
// request's arena with its first attempt.
class UpstreamRecord {
 public:
  std::vector<UpstreamAttempt, PooledAllocator<UpstreamAttempt>> attempts;
  const HeaderList* headers = nullptr;  // of the last response head, as received
  const HeaderList* trailers = nullptr;
  std::string_view scheme;     // "http://"
  std::string_view uri;        // as sent upstream
  bool retry_refused = false;  // by `retry_budget`

  // For the log's context, upstream: "http://127.0.0.1:8080/path". Empty before the first attempt.
  std::string url() const {
    if (attempts.empty() || attempts.back().peer.empty()) return {};
    std::string text(scheme);
    text.append(attempts.back().peer);
    if (attempts.back().peer.starts_with("unix:")) text.push_back(':');
    text.append(uri);
    return text;
  }

  UpstreamAttempt& begin(std::string_view peer) {
    attempts.emplace_back();
    attempts.back().peer = peer;
    return attempts.back();
  }
  // A second upstream request of this request begins (after an internal redirect).
  void mark_redirect() {
    if (!attempts.empty()) attempts.emplace_back();
    headers = trailers = nullptr;
  }
};

}  // namespace weir::http
