#pragma once

#include <string_view>

#include "engine/base/arena.h"
#include "engine/http/codec.h"
#include "engine/http/message.h"

namespace weir::http::h2 {

struct Stream;

// Status 0: in order. Else what answers the request, and nginx's words for the log (static or in
// the arena).
struct FieldVerdict {
  int status = 0;
  const char* reason = "";
};

MessageHead* begin_request(Arena& arena);
// One field of a request's head, pseudo or not (RFC 9113 sections 8.2 and 8.3.1).
FieldVerdict add_request_field(Stream& stream, std::string_view name, std::string_view value,
                               const HeadLimits& limits, bool extended_connect);
// All have come: what is missing, contradicts or may not be; Cookie is joined, Host and the body's
// length are settled. `end`: no body follows.
FieldVerdict finish_request(Stream& stream, bool end);
// head.request_line of what there is, for the log of a refused request.
void fill_request_line(Stream& stream);

}  // namespace weir::http::h2
