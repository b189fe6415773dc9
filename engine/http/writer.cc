#include "engine/http/writer.h"

#include "engine/event/loop.h"
#include "engine/http/connection_facts.h"
#include "engine/http/date.h"
#include "engine/http/graph.h"
#include "engine/http/http2_settings.h"
#include "engine/http/request.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

// Fields that the codec writes at a place of their own when it finds them at the front.
bool has_own_place(HeaderId id) {
  return id == HeaderId::server || id == HeaderId::date || id == HeaderId::content_type ||
         id == HeaderId::last_modified || id == HeaderId::location;
}

void add_as_listed(HeaderList& to, Arena& arena, Header field) {
  // A field that a filter removed.
  if (field.name.empty() || field.value.data() == nullptr) return;
  if (has_own_place(field.id)) field.id = HeaderId::other;
  to.add(arena, field);
}

std::string_view date_text(Arena& arena, time_t when) {
  char* to = arena.text(kDateSize);
  format_date(when, to);
  return {to, kDateSize};
}

BodyLength body_length(const Request& request, const Response& response) {
  if (response.upgraded) return {};
  bool chunked_allowed = request.settings<CoreSettings>().chunked_transfer_encoding;
  if (response.content_length >= 0 && !(response.expect_trailers && chunked_allowed)) {
    return {BodyLength::Kind::exact, static_cast<uint64_t>(response.content_length)};
  }
  return {chunked_allowed ? BodyLength::Kind::chunked : BodyLength::Kind::until_close, 0};
}

}  // namespace

std::string_view server_text(ServerTokens tokens) {
  switch (tokens) {
    case ServerTokens::off:
      return kServerName;
    case ServerTokens::on:
      return kServerVersion;
    case ServerTokens::build:
      return kServerBuild;
  }
  return kServerName;
}

void settle_header_only(Response& response, bool multiplexed) {
  if (response.status == 304) response.header_only = true;
  if (response.last_modified != -1 && response.status != 200 && response.status != 206 &&
      response.status != 304) {
    response.last_modified = -1;
    response.last_modified_text = {};
  }
  if (response.status == 204) {
    response.header_only = true;
    // An upstream's answer keeps what the upstream said of it.
    if (response.reason.empty() || multiplexed) response.content_type = {};
    response.last_modified = -1;
    response.last_modified_text = {};
    response.content_length = -1;
  }
}

std::string_view absolute_location(Request& request, std::string_view path) {
  const auto& settings = request.settings<CoreSettings>();
  Arena& arena = request.arena();
  std::string_view host;
  if (settings.server_name_in_redirect) {
    host = request.server().names.empty() ? std::string_view() : request.server().names[0];
  } else {
    host = request.host();
  }
  const net::Address& local = request.connection().local();
  if (host.empty() && !settings.server_name_in_redirect) {
    char* text = arena.text(net::Address::kHostTextSize);
    host = {text, local.host_text(text)};
  }
  uint16_t port = settings.port_in_redirect ? local.port() : 0;
  ArenaText text(arena, 16 + host.size() + path.size());
  const bool https = request.connection().tls != nullptr;
  text.append(https ? "https://" : "http://");
  text.append(host);
  if (port != 0 && port != (https ? 443 : 80)) {
    text.push_back(':');
    text.append(std::to_string(port));
  }
  text.append(path);
  return text.view();
}

MessageHead compose_head(Request& request) {
  Response& response = request.response();
  const auto& settings = request.settings<CoreSettings>();
  Arena& arena = request.arena();
  MessageHead head;
  head.status = response.status;
  head.reason = response.reason;
  // As the last head of a request they have no words.
  if (head.reason.empty() && head.status >= 100 && head.status < 200 && !response.upgraded) {
    head.reason = arena.copy(std::to_string(head.status) + " ");
  }
  head.body = body_length(request, response);
  head.upgrade = response.upgraded;
  head.keep_alive = request.keep_alive() && !request.worker().draining;
  if (request.received().version == Version::http_2) {
    head.frame_size = static_cast<uint32_t>(request.settings<Http2Settings>().chunk_size.value);
  }
  head.keep_alive_seconds = static_cast<uint32_t>(settings.keepalive_header.value);
  HeaderList& fields = head.headers;
  fields.reserve(arena, response.headers.size() + 6);
  std::string_view server =
      response.server.empty() ? server_text(settings.server_tokens) : response.server;
  // Those of an upstream (proxy_pass_header) stand where the upstream put them.
  if (!response.headers.find(HeaderId::server)) {
    fields.add(arena, Header{"Server", server, HeaderId::server});
  }
  std::string_view date = response.date;
  if (date.empty()) {
    date = cached_date(static_cast<time_t>(request.worker().loop.wall_milliseconds() / 1000));
  }
  if (!response.headers.find(HeaderId::date)) {
    fields.add(arena, Header{"Date", date, HeaderId::date});
  }
  if (!response.content_type.empty()) {
    fields.add(arena, Header{"Content-Type", response.content_type, HeaderId::content_type});
  }
  // Of an upstream's response this stands where the upstream put it.
  const bool listed = response.headers.find(HeaderId::last_modified) != nullptr;
  if (!listed && response.last_modified_text.empty() && response.last_modified != -1) {
    std::string_view modified = date_text(arena, static_cast<time_t>(response.last_modified));
    fields.add(arena, Header{"Last-Modified", modified, HeaderId::last_modified});
  }
  bool relative = !response.location.empty() && response.location[0] == '/';
  bool absolute = relative && settings.absolute_redirect;
  if (absolute) {
    response.location = absolute_location(request, response.location);  // $sent_http_location too
    fields.add(arena, Header{"Location", response.location, HeaderId::location});
  } else if (response.location.data() != nullptr) {
    fields.add(arena, Header{"Location", response.location, HeaderId::other});
  }
  if (!listed && !response.last_modified_text.empty()) {
    fields.add(arena, Header{"Last-Modified", response.last_modified_text, HeaderId::other});
  }
  if (!response.etag.empty() && !response.headers.find(HeaderId::etag)) {
    fields.add(arena, Header{"ETag", response.etag, HeaderId::etag});
  }
  for (const Header& field : response.headers) add_as_listed(fields, arena, field);
  return head;
}

}  // namespace weir::http
