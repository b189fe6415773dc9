#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/base/arena.h"

// What gRPC says in fields: statuses, content types, messages.
namespace weir::http::grpc {

// https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
enum class Status : uint8_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

// What a client would make of an HTTP status itself
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
Status status_of_http(int http_status);
// "14"; "0" to "16", static text.
std::string_view number_text(Status status);
// The value of a grpc-status field, when it is one that has a name.
std::optional<Status> parse_status(std::string_view text);

// What a content type says about the call.
enum class Kind : uint8_t {
  none,      // not gRPC
  grpc,      // application/grpc, application/grpc+proto
  web,       // application/grpc-web…
  web_text,  // application/grpc-web-text…: base64
};
Kind kind_of(std::string_view content_type);
// "+proto" of "application/grpc-web+proto"; empty: none. Parameters are not part of it.
std::string_view message_format(std::string_view content_type);

// grpc-message: percent-encoded where it must be.
std::string_view encode_message(Arena& arena, std::string_view text);

}  // namespace weir::http::grpc
