#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/async/task.h"
#include "engine/http/core_settings.h"
#include "engine/http/message.h"
#include "engine/http/phase.h"
#include "engine/http/upstream_connection.h"
#include "engine/http/upstream_tls.h"
#include "engine/net/bind_rule.h"
#include "engine/upstream/cluster.h"

namespace weir::http {

class Request;

// The way to an upstream and back that all gateways share (proxy and grpc): choose a
// peer, connect or take a pooled connection, send the request, read the head, try the next peer
// when the configuration says so, relay the body, keep the connection.

// Conditions of *_next_upstream.
enum class NextUpstream : uint32_t {
  error = 1u << 0,
  timeout = 1u << 1,
  invalid_header = 1u << 2,
  non_idempotent = 1u << 3,
  http_500 = 1u << 4,
  http_502 = 1u << 5,
  http_503 = 1u << 6,
  http_504 = 1u << 7,
  http_403 = 1u << 8,
  http_404 = 1u << 9,
  http_429 = 1u << 10,
  updating = 1u << 11,
  // 1u << 15 … 1u << 30: the module's own (GatewayPlan::judge_head)
  none = 0,
  off = 1u << 31,
};

// Fields of *_ignore_headers.
enum class IgnoredHeader : uint32_t {
  accel_redirect = 1u << 0,
  accel_expires = 1u << 1,
  accel_limit_rate = 1u << 2,
  accel_buffering = 1u << 3,
  accel_charset = 1u << 4,
  expires = 1u << 5,
  cache_control = 1u << 6,
  set_cookie = 1u << 7,
  vary = 1u << 8,
};

// Conditions of the module's own: naming them says that the request may be sent again, whatever its
// method.
inline constexpr uint32_t kModuleConditions = 0x7fff'8000;

// Names of response fields, any case.
class HeaderNameSet {
 public:
  void add(std::string_view name);
  void remove(std::string_view name);
  bool contains(const Header& header) const;

 private:
  uint64_t known_ = 0;               // bit per HeaderId
  std::vector<std::string> others_;  // lower case
};

// What every gateway module has under its own prefix.
struct GatewaySettings {
  conf::Milliseconds connect_timeout{60000}, send_timeout{60000}, read_timeout{60000};
  conf::Bytes buffer_size{4096};
  conf::Buffers buffers{8, 4096};
  // Not set: twice a buffer, 1 GB, twice a buffer.
  std::optional<conf::Bytes> busy_buffers_size, max_temp_file_size, temp_file_write_size;
  size_t temp_file_limit() const {
    return max_temp_file_size ? max_temp_file_size->value : size_t{1024} << 20;
  }
  TempPath temp_path;
  bool buffering = true, request_buffering = true;
  bool ignore_client_abort = false, intercept_errors = false, force_ranges = false;
  bool pass_request_headers = true, pass_request_body = true, pass_trailers = false;
  bool socket_keepalive = false;
  conf::Bytes socket_receive_buffer{0}, socket_send_buffer{0};
  conf::Template limit_rate;
  conf::Bitmask<NextUpstream> next_upstream;
  conf::Number next_upstream_tries{0};
  conf::Milliseconds next_upstream_timeout{0};
  conf::Bitmask<IgnoredHeader> ignore_headers;
  std::vector<std::string> hide_headers, pass_headers;
  HeaderNameSet hidden;  // from both, by finish()
  net::BindRule bind;    // *_bind
};

// One upstream request, made by the module's handler in the request's arena. Settings outlive it
// (they belong to the generation).
class GatewayPlan {
 public:
  const GatewaySettings* settings = nullptr;
  // The group; null: `resolve_host` and `resolve_port` are looked up at run time.
  const upstream::Cluster* cluster = nullptr;
  std::string_view resolve_host;
  uint16_t resolve_port = 0;
  net::Address literal;  // instead of both: an address written in a variable
  // For messages: "http://" before the peer, and the URI behind it.
  std::string_view scheme;
  std::string_view uri;
  // What tells pooled connections of this use from others: protocol, and the location where the
  // pool is local. (Address, TLS settings and names are added by the run.)
  std::string_view traits;
  UpstreamConnection::MakeCodec make_codec = nullptr;
  // HTTP/2: requests to one peer are streams of shared connections, where the group keeps
  // connections at all; else each has one of its own, as with HTTP/1.
  bool multiplexed = false;
  // Null: not encrypted. Belongs to the generation.
  const UpstreamTls* tls = nullptr;
  // With tls: protocols offered, each with its length ahead ("\2h2"); empty: none.
  std::string_view alpn;
  // What UpstreamTls::name stands for when it is empty: the host of the URL, without port.
  std::string_view tls_name;
  // Does the protocol frame a request body of unknown length? (HTTP/1.0 does not.)
  bool can_stream_unknown_length = true;
  // A body that replaces the client's (proxy_set_body).
  bool has_own_body = false;
  // Trailers of the client's request follow its body (needs request_buffering off).
  bool pass_request_trailers = false;
  // Loop::now() at which the whole exchange must have ended, 0: never. Passed: 504, or, when the
  // response has begun, its end without a last chunk (HTTP/2: RST_STREAM).
  uint64_t deadline = 0;

  // Fills the head once; `body` says what will be sent behind it.
  virtual void make_head(Request& request, const BodyLength& body, MessageHead& head) = 0;
  // With has_own_body: asked for when the client's body has been read.
  virtual std::string_view own_body(Request& request) = 0;
  // Location, Refresh and Set-Cookie of responses: a changed value, or the value as it is.
  virtual std::string_view rewrite_header(Request& request, const Header& header) = 0;
  // Is this response a reason to try the next peer, besides its HTTP status (a gRPC status)? None:
  // no bits. Asked once for each response head.
  virtual NextUpstream judge_head(Request& request, const MessageHead& head);
  // Just before the response goes to the client: request.response() is filled and may be changed.
  virtual void finish_head(Request& request);
  // The trailers, before the hidden ones are taken out; those in `trailers` are passed on when
  // settings->pass_trailers.
  virtual void take_trailers(Request& request, HeaderList& trailers);
  // The response has begun and will not be completed (502, 504). True: the plan has ended it in a
  // way that the client understands; else the connection or stream is broken off.
  virtual bool end_broken(Request& request, int status);

 protected:
  ~GatewayPlan() = default;
};

// Runs the plan to its end: the result of the content handler.
PhaseResult start_gateway(Request& request, GatewayPlan& plan);

}  // namespace weir::http
