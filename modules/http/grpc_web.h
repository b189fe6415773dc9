#pragma once

#include <string_view>

#include "engine/http/request.h"
#include "modules/http/grpc_status.h"

// gRPC-Web (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md) to gRPC: what browsers
// speak, over any version of HTTP. Messages are framed alike; trailers are a last frame of the
// body, and the text form is base64.
namespace weir::http::grpc {

// By grpc_pass before a call is passed on: with `grpc_web on`, decides what the request is, and in
// the text form puts a decoder before its body.
void begin_web_request(Request& request);
// What it was found to be: none (also: not asked for), web or web_text.
Kind web_kind(Request& request);
// The content type for the upstream: "application/grpc+proto".
std::string_view plain_content_type(Request& request);
// Before the response's head is sent: sets its content type and the filter for its body.
void begin_web_response(Request& request);

}  // namespace weir::http::grpc
