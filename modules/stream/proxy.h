#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/net/bind_rule.h"
#include "engine/stream/session.h"
#include "engine/upstream/cluster.h"
#include "modules/shared/upstream_tls.h"

// ngx_stream_proxy_module: proxy.cc holds the directives, proxy_run.cc what both kinds of session
// do (choosing a server, retries, facts), proxy_connection.cc and proxy_datagram.cc the rest.
namespace weir::stream::proxy {

enum class Protocol : uint8_t { off, on, v2 };

struct ProxySettings {
  conf::Milliseconds connect_timeout, timeout, next_upstream_timeout;
  conf::Number next_upstream_tries;
  bool next_upstream = true;
  net::BindRule bind;
  Protocol protocol = Protocol::off;
  conf::Template upload_rate, download_rate;
  conf::Bytes buffer_size;
  bool half_close = false;
  bool socket_keepalive = false;
  std::optional<conf::Bytes> socket_rcvbuf, socket_sndbuf;
  std::optional<conf::Number> responses;  // none: as many as come
  conf::Number requests{0};
  bool ssl = false;
  UpstreamTlsSettings tls;
  std::string alpn;  // proxy_ssl_alpn, each with its length ahead
  std::shared_ptr<const tls::ClientContext> tls_context;  // where ssl is on
};

// proxy_pass of one server.
struct ProxyPass {
  static constexpr bool kSeenByIf = false;
  conf::Template target;  // when it has variables
  const upstream::Cluster* cluster = nullptr;
};

// The content handler.
PhaseResult handle(Session& session);

}  // namespace weir::stream::proxy
