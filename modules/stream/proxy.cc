#include "modules/stream/proxy.h"

#include "confparse/address.h"
#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/stream/builder.h"
#include "modules/shared/bind.h"
#include "modules/shared/ssl.h"
#include "modules/shared/upstream.h"
#include "modules/stream/modules.h"

// ngx_stream_proxy_module: the directives.

namespace weir::conf {
template <>
struct EnumWords<stream::proxy::Protocol> {
  static constexpr std::pair<std::string_view, stream::proxy::Protocol> words[] = {
      {"off", stream::proxy::Protocol::off},
      {"on", stream::proxy::Protocol::on},
      {"v2", stream::proxy::Protocol::v2}};
};
}  // namespace weir::conf

namespace weir::stream::proxy {

namespace {

using namespace conf;

void set_pass(Compiler& compiler, Scope& scope, const Statement& at) {
  ProxyPass pass;
  pass.target = compiler.make_template(at, at.words[1]);
  builder(compiler).current_server->content = handle;
  if (!pass.target.is_literal()) {
    scope.write_own<ProxyPass>() = std::move(pass);
    return;
  }
  const Url url =
      parse_url(compiler.world(), at.argument(0), {.default_port = 0, .no_resolve = true});
  if (!url.ok()) {
    return compiler.error(at, url.problem + " in upstream \"" + url.text + "\"", {}, &at.words[1]);
  }
  pass.cluster = compiler.state<shared::StreamUpstreams>().refer(compiler, at, url);
  scope.write_own<ProxyPass>() = std::move(pass);
}

void set_bind(Compiler& compiler, Scope& scope, const Statement& at) {
  shared::read_bind(compiler, at, scope.write<ProxySettings>().bind);
}

template <auto Member>
void set_rate(Compiler& compiler, Scope& scope, const Statement& at) {
  const Template text = compiler.make_template(at, at.words[1]);
  if (text.is_literal() && !parse_size(text.literal_text())) {
    return compiler.error(at, "\"" + std::string(at.name()) + "\" directive invalid value", {},
                          &at.words[1]);
  }
  scope.write<ProxySettings>().*Member = text;
}

void set_old_buffer(Compiler& compiler, Scope& scope, const Statement& at) {
  Bytes size;
  if (!read_setting(compiler, scope, at, size)) return;
  scope.write<ProxySettings>().buffer_size = size;
  compiler.warn(at,
                "the \"" + std::string(at.name()) +
                    "\" directive is deprecated, use the \"proxy_buffer_size\" directive instead",
                {}, &at.words[0]);
}

void set_protocols(Compiler& compiler, Scope& scope, const Statement& statement) {
  std::string protocols;
  if (!shared::ssl::read_alpn(compiler, statement, protocols)) return;
  scope.write<ProxySettings>().alpn = std::move(protocols);
}

constexpr uint32_t kBoth = kStream | kStreamServer;

constexpr Directive kOwnDirectives[] = {
    {.name = "proxy_ssl",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&ProxySettings::ssl>,
     .doc = "TLS to upstreams."},
    {.name = "proxy_ssl_alpn",
     .where = kBoth,
     .args = {1, kNoLimit},
     .set = set_protocols,
     .doc = "Protocols offered to upstreams."},
    {.name = "proxy_pass",
     .where = kStreamServer,
     .args = {1, 1},
     .merge = Merge::own,
     .set = set_pass,
     .doc = "Where sessions are passed to."},
    {.name = "proxy_bind",
     .where = kBoth,
     .args = {1, 2},
     .set = set_bind,
     .doc = "The local address of connections to upstreams; transparent: any address."},
    {.name = "proxy_buffer_size",
     .where = kBoth,
     .args = {1, 1},
     .initial = "16k",
     .set = into<&ProxySettings::buffer_size>,
     .doc = "Most bytes of one read where a rate is set."},
    {.name = "proxy_connect_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&ProxySettings::connect_timeout>,
     .doc = "Time for a connection to an upstream."},
    {.name = "proxy_download_rate",
     .where = kBoth,
     .args = {1, 1},
     .initial = "0",
     .set = set_rate<&ProxySettings::download_rate>,
     .doc = "Bytes a second read from the upstream; 0: no limit."},
    {.name = "proxy_downstream_buffer",
     .where = kBoth,
     .args = {1, 1},
     .set = set_old_buffer,
     .doc = "Deprecated: proxy_buffer_size."},
    {.name = "proxy_half_close",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&ProxySettings::half_close>,
     .doc = "The end of one direction is passed on, and the other goes on."},
    {.name = "proxy_next_upstream",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&ProxySettings::next_upstream>,
     .doc = "Try the next server when a connection cannot be made."},
    {.name = "proxy_next_upstream_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "0",
     .set = into<&ProxySettings::next_upstream_timeout>,
     .doc = "Time for passing on to the next server; 0: no limit."},
    {.name = "proxy_next_upstream_tries",
     .where = kBoth,
     .args = {1, 1},
     .initial = "0",
     .set = into<&ProxySettings::next_upstream_tries>,
     .doc = "Most tries; 0: as many as there are servers."},
    {.name = "proxy_protocol",
     .where = kBoth,
     .args = {1, 1},
     .initial = "off",
     .set = into<&ProxySettings::protocol>,
     .doc = "Sends a PROXY protocol header first: version 1 (on) or 2 (v2)."},
    {.name = "proxy_requests",
     .where = kBoth,
     .args = {1, 1},
     .initial = "0",
     .set = into<&ProxySettings::requests>,
     .doc = "Datagrams of a client after which its next one begins a session; 0: no limit."},
    {.name = "proxy_responses",
     .where = kBoth,
     .args = {1, 1},
     .set = into<&ProxySettings::responses>,
     .doc = "Datagrams that answer one of the client's; after them the session ends."},
    {.name = "proxy_socket_keepalive",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&ProxySettings::socket_keepalive>,
     .doc = "SO_KEEPALIVE on connections to upstreams."},
    {.name = "proxy_socket_rcvbuf",
     .where = kBoth,
     .args = {1, 1},
     .set = into<&ProxySettings::socket_rcvbuf>,
     .doc = "SO_RCVBUF of connections to upstreams."},
    {.name = "proxy_socket_sndbuf",
     .where = kBoth,
     .args = {1, 1},
     .set = into<&ProxySettings::socket_sndbuf>,
     .doc = "SO_SNDBUF of connections to upstreams."},
    {.name = "proxy_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "10m",
     .set = into<&ProxySettings::timeout>,
     .doc = "Time without a byte in either direction; then the session ends."},
    {.name = "proxy_upload_rate",
     .where = kBoth,
     .args = {1, 1},
     .initial = "0",
     .set = set_rate<&ProxySettings::upload_rate>,
     .doc = "Bytes a second read from the client; 0: no limit."},
    {.name = "proxy_upstream_buffer",
     .where = kBoth,
     .args = {1, 1},
     .set = set_old_buffer,
     .doc = "Deprecated: proxy_buffer_size."},
};

constexpr auto kDirectives =
    join_rows(kOwnDirectives, kUpstreamTlsRows<ProxySettings, "proxy_", kBoth>);

void finish(Compiler& compiler, Scope& self, const Scope*) {
  if (self.context() != kStreamServer || !self.get<ProxySettings>().ssl) return;
  auto& settings = self.write<ProxySettings>();
  settings.tls_context = make_client_context(compiler, settings.tls, "proxy_");
}

}  // namespace

}  // namespace weir::stream::proxy

namespace weir::stream {

const conf::Module kProxyModule{.name = "ngx_stream_proxy_module",
                                .directives = proxy::kDirectives,
                                .finish = proxy::finish,
                                .root = conf::kStream};

}  // namespace weir::stream
