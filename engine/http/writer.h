#pragma once

#include <string_view>

#include "engine/http/core_settings.h"
#include "engine/http/message.h"
#include "engine/http/response.h"

namespace weir::http {

class Request;

// What the engine calls itself: the level of nginx whose behaviour it has.
inline constexpr std::string_view kServerName = "nginx";
inline constexpr std::string_view kServerVersion = "nginx/1.31.4";
inline constexpr std::string_view kServerBuild = "nginx/1.31.4 (weir/" WEIR_VERSION ")";
std::string_view server_text(ServerTokens tokens);

// HEAD is known already; the status says the rest (RFC 9110 sections 15.3.5, 15.4.5): no body, and
// for 204 no fields about one (in HTTP/1, an upstream's 204 keeps its type).
void settle_header_only(Response& response, bool multiplexed);

// The head of a main request's response, its fields in nginx's order: Server, Date, Content-Type,
// Last-Modified, an absolute Location, then the others. (Length, framing and connection fields are
// the codec's.) Lives in the request's arena.
MessageHead compose_head(Request& request);

// "http://host:port/path" of a Location that begins with '/', by absolute_redirect,
// server_name_in_redirect and port_in_redirect.
std::string_view absolute_location(Request& request, std::string_view path);

}  // namespace weir::http
