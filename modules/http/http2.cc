#include <algorithm>
#include <string>

#include "confparse/setters.h"
#include "engine/http/connection_facts.h"
#include "engine/http/http2_settings.h"
#include "modules/http/core_variables.h"
#include "modules/http/modules.h"

// ngx_http_v2_module: HTTP/2 to clients. The protocol itself is engine/http/h2.
namespace weir::http {

namespace {

using namespace conf;

constexpr size_t kLargestPreread = 2147483647;
constexpr size_t kLargestChunk = 16777215;

void set_preread_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Bytes size;
  if (!read_setting(compiler, scope, statement, size)) return;
  if (size.value > kLargestPreread) {
    compiler.error(statement, "the maximum body preread buffer size is 2147483647", {},
                   &statement.words[1]);
    return;
  }
  scope.write<Http2Settings>().body_preread_size = size;
}

void set_chunk_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Bytes size;
  if (!read_setting(compiler, scope, statement, size)) return;
  if (size.value == 0) {
    compiler.error(statement, "the http2 chunk size cannot be zero", {}, &statement.words[1]);
    return;
  }
  size.value = std::min<decltype(size.value)>(size.value, kLargestChunk);
  scope.write<Http2Settings>().chunk_size = size;
}

void set_pool_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Bytes size;
  if (!read_setting(compiler, scope, statement, size)) return;
  if (size.value < 112) {
    compiler.error(statement, "the pool size must be no less than 112", {}, &statement.words[1]);
  } else if (size.value % 16 != 0) {
    compiler.error(statement, "the pool size must be a multiple of 16", {}, &statement.words[1]);
  }
  scope.write<Http2Settings>().pool_size = size;
}

void set_recv_buffer_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Bytes size;
  if (!read_setting(compiler, scope, statement, size)) return;
  if (size.value <= 32) {
    compiler.error(statement, "\"http2_recv_buffer_size\" directive value is too small", {},
                   &statement.words[1]);
  }
  scope.write<Http2Settings>().recv_buffer_size = size;
}

void set_streams_index_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Number size;
  if (!read_setting(compiler, scope, statement, size)) return;
  if (size.value == 0 || (size.value & (size.value - 1)) != 0) {
    compiler.error(statement, "\"http2_streams_index_size\" directive must be a power of two", {},
                   &statement.words[1]);
  }
  scope.write<Http2Settings>().streams_index_size = size;
}

std::string_view successor(std::string_view name) {
  if (name == "http2_recv_timeout") return "client_header_timeout";
  if (name == "http2_idle_timeout") return "keepalive_timeout";
  if (name == "http2_max_requests") return "keepalive_requests";
  if (name == "http2_max_field_size" || name == "http2_max_header_size") {
    return "large_client_header_buffers";
  }
  return {};
}

void warn_obsolete(Compiler& compiler, Scope&, const Statement& statement) {
  const std::string name(statement.name());
  const std::string_view now = successor(name);
  std::string text = "the \"" + name + "\" directive is obsolete, ";
  text += now.empty() ? "ignored" : "use the \"" + std::string(now) + "\" directive instead";
  compiler.warn(statement, text);
}

constexpr Directive obsolete(std::string_view name, std::string_view doc, uint32_t where) {
  Directive directive;
  directive.name = name;
  directive.where = where;
  directive.args = {1, 1};
  directive.repeat = Repeat::collect;
  directive.set = warn_obsolete;
  directive.doc = doc;
  return directive;
}

constexpr uint32_t kPlaces = kHttp | kServer;
constexpr uint32_t kAllPlaces = kHttp | kServer | kLocation;

constexpr Directive kDirectives[] = {
    {.name = "http2",
     .where = kPlaces,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&Http2Settings::enabled>,
     .doc = "HTTP/2 beside HTTP/1: by ALPN over TLS, by its preface otherwise."},
    {.name = "http2_max_concurrent_streams",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "128",
     .set = into<&Http2Settings::max_concurrent_streams>,
     .doc = "Requests at once on one connection."},
    {.name = "http2_body_preread_size",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "64k",
     .set = set_preread_size,
     .doc = "How much of a request's body may come before somebody reads it."},
    {.name = "http2_chunk_size",
     .where = kAllPlaces,
     .args = {1, 1},
     .initial = "8k",
     .set = set_chunk_size,
     .doc = "The most body bytes in one frame."},
    {.name = "http2_extended_connect",
     .where = kPlaces,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&Http2Settings::extended_connect>,
     .doc = "WebSocket over HTTP/2 (RFC 8441)."},
    {.name = "http2_pool_size",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "4k",
     .set = set_pool_size,
     .doc = "Checked; memory is taken as needed."},
    {.name = "http2_recv_buffer_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "256k",
     .set = set_recv_buffer_size,
     .doc = "Checked; connections share buffers of 32k."},
    {.name = "http2_streams_index_size",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "32",
     .set = set_streams_index_size,
     .doc = "Checked; tables size themselves."},
    obsolete("http2_idle_timeout", "Obsolete: keepalive_timeout counts.", kPlaces),
    obsolete("http2_recv_timeout", "Obsolete: client_header_timeout counts.", kPlaces),
    obsolete("http2_max_requests", "Obsolete: keepalive_requests counts.", kPlaces),
    obsolete("http2_max_field_size", "Obsolete: large_client_header_buffers counts.", kPlaces),
    obsolete("http2_max_header_size", "Obsolete: large_client_header_buffers counts.", kPlaces),
    obsolete("http2_max_concurrent_pushes", "Obsolete: nothing is pushed.", kPlaces),
    obsolete("http2_push", "Obsolete: nothing is pushed.", kAllPlaces),
    obsolete("http2_push_preload", "Obsolete: nothing is pushed.", kAllPlaces),
};

// "h2" over TLS, "h2c" without, empty for HTTP/1.
Value get_http2(VariableSource& source, const Variable&) {
  const Request& request = core::request_of(source);
  if (request.received().version != Version::http_2) return Value::of("");
  return Value::of(request.connection().tls != nullptr ? "h2" : "h2c");
}

void prepare(Compiler& compiler, Scope&) {
  core::define(compiler, {.name = "http2", .get = get_http2});
}

}  // namespace

const conf::Module kHttp2Module{.name = "ngx_http_v2_module",
                                .directives = kDirectives,
                                .prepare = prepare,
                                .configure_argument = "--with-http_v2_module"};

}  // namespace weir::http
