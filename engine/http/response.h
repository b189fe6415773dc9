#pragma once

#include <cstdint>
#include <ctime>
#include <string_view>

#include "engine/http/message.h"

namespace weir::http {

// The response being built. Handlers fill it, head filters change it, the writer sends it. Text
// lives in the request's arena (or is static).
struct Response {
  int status = 0;
  std::string_view reason;        // upstream's status and words, "200 OK"; empty: the standard
  std::string_view content_type;  // with charset, empty: no field
  std::string_view
      location;  // sent as Location (absolute_redirect applies when it starts with '/')
  std::string_view etag;
  std::string_view server;              // empty: ours, by server_tokens
  std::string_view date;                // empty: now
  std::string_view last_modified_text;  // from upstream, as it came
  int64_t last_modified = -1;           // seconds; -1: none
  int64_t content_length = -1;          // -1: unknown (chunked or close)
  HeaderList headers;                   // all others, in order; value empty and id other: removed
  HeaderList trailers;                  // filled before the last data is sent
  bool header_only = false;             // HEAD, 204, 304: no body is sent
  bool head_sent = false;
  bool allow_ranges = false;
  bool single_range = false;
  bool not_modified_test = true;  // cleared for responses that conditional requests do not concern
  // An error, with our own page: nobody in the configuration answers it.
  bool built_in_page = false;
  bool upgraded = false;         // 101
  bool expect_trailers = false;  // trailers will come though the length is known: use chunked
};

}  // namespace weir::http
