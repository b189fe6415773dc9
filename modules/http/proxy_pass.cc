#include "confparse/address.h"
#include "confparse/value.h"
#include "confparse/worlds.h"
#include "engine/http/builder.h"
#include "engine/http/connection_facts.h"
#include "engine/http/h1/codec.h"
#include "engine/http/h2/codec.h"
#include "engine/http/uri.h"
#include "engine/worker.h"
#include "modules/http/proxy.h"
#include "modules/http/upstream.h"

// proxy_pass: the directive and the content handler.
namespace weir::http::proxy {
namespace {

constexpr std::string_view kPlainScheme = "http://";
constexpr std::string_view kSecureScheme = "https://";

bool starts_without_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         conf::equal_without_case(text.substr(0, prefix.size()), prefix);
}

// Takes the scheme off `text`. False: it has none that proxy_pass knows.
bool take_scheme(std::string_view& text, bool& secure) {
  secure = starts_without_case(text, kSecureScheme);
  if (!secure && !starts_without_case(text, kPlainScheme)) return false;
  text.remove_prefix(secure ? kSecureScheme.size() : kPlainScheme.size());
  return true;
}

uint16_t default_port(bool secure) {
  return secure ? 443 : 80;
}

conf::UrlRules url_rules(bool secure) {
  conf::UrlRules rules;
  rules.default_port = default_port(secure);
  rules.uri_part = true;
  rules.no_resolve = true;
  return rules;
}

// $proxy_host and $proxy_port of an address.
void name_host(const conf::Url& url, bool secure, std::string& host, std::string& port) {
  if (url.kind == conf::Url::Kind::unix_socket) {
    host = "localhost";
    port.clear();
  } else if (url.no_port || url.port == default_port(secure)) {
    host = url.host;
    port = std::to_string(default_port(secure));
  } else {
    host = url.host + ":" + url.port_text;
    port = url.port_text;
  }
}

std::unique_ptr<Codec> make_http1(CodecReceiver& receiver, uint32_t head_limit) {
  h1::ClientOptions options;
  options.head_limit = head_limit;
  return h1::make_client_codec(receiver, options);
}

std::unique_ptr<Codec> make_http2(CodecReceiver& receiver, uint32_t head_limit) {
  h2::ClientOptions options;
  options.head_limit = head_limit;
  return h2::make_client_codec(receiver, options);
}

Version version_of(HttpVersion version) {
  if (version == HttpVersion::http_2) return Version::http_2;
  return version == HttpVersion::http_1_0 ? Version::http_1_0 : Version::http_1_1;
}

class Plan final : public GatewayPlan {
 public:
  Plan(const ProxySettings& settings, const ProxyPass& pass) : proxy_(settings), pass_(pass) {
    this->settings = &settings.gateway;
    multiplexed = settings.http_version == HttpVersion::http_2;
    make_codec = multiplexed ? make_http2 : make_http1;
    if (multiplexed) alpn = "\2h2";
    can_stream_unknown_length = settings.http_version != HttpVersion::http_1_0;
  }
  // 0, or the status to end with.
  int aim(Request& request);
  void make_head(Request& request, const BodyLength& body, MessageHead& head) override;
  std::string_view own_body(Request& request) override { return proxy_.body.evaluate(request); }
  std::string_view rewrite_header(Request& request, const Header& header) override {
    return rewrite(request, proxy_, header);
  }

 private:
  int aim_at_variable(Request& request, ProxyContext& context, bool& secure, bool& own_uri);
  std::string_view make_uri(Request& request, std::string_view replacement, bool whole) const;
  void add_body_field(Request& request, const BodyLength& body, HeaderId id, std::string_view name,
                      bool wanted, MessageHead& head) const;

  const ProxySettings& proxy_;
  const ProxyPass& pass_;
};

int Plan::aim(Request& request) {
  auto& context = request.context<ProxyContext>();
  bool own_uri = false;
  bool secure = pass_.secure;
  std::string_view replacement = pass_.uri;
  if (pass_.target.empty()) {
    cluster = pass_.cluster;
    context.host = pass_.host_header;
    context.port = pass_.port;
  } else {
    const int status = aim_at_variable(request, context, secure, own_uri);
    if (status) return status;
    replacement = uri;
  }
  scheme = secure ? kSecureScheme : kPlainScheme;
  if (secure) tls = &pass_.tls;
  tls_name = cluster ? std::string_view(cluster->host) : resolve_host;
  uri = make_uri(request, replacement, own_uri);
  if (uri.empty()) {
    request.log(Severity::error, "zero length URI to proxy");
    return 500;
  }
  traits = !cluster || cluster->keepalive.local ? pass_.local_traits : pass_.traits;
  has_own_body = proxy_.has_body;
  return 0;
}

int Plan::aim_at_variable(Request& request, ProxyContext& context, bool& secure, bool& own_uri) {
  std::string_view text = pass_.target.evaluate(request);
  if (!take_scheme(text, secure)) {
    request.log(Severity::error, "invalid URL prefix in \"" + std::string(text) + "\"");
    return 500;
  }
  // Literal addresses need no world, and names are left alone (no_resolve).
  static thread_local conf::VirtualWorld nowhere;
  const conf::Url url = conf::parse_url(nowhere, text, url_rules(secure));
  if (!url.ok()) {
    request.log(Severity::error, url.problem + " in upstream \"" + url.text + "\"");
    return 500;
  }
  Arena& arena = request.arena();
  std::string host;
  std::string port;
  name_host(url, secure, host, port);
  context.host = arena.copy(host);
  context.port = arena.copy(port);
  uri = arena.copy(url.uri.starts_with('?') ? "/" + url.uri : url.uri);
  own_uri = !uri.empty();
  cluster = find_cluster(request, url);
  if (cluster) return 0;
  if (!url.addresses.empty()) literal = net::Address::from_bytes(url.addresses[0].bytes);
  resolve_host = arena.copy(url.host);
  resolve_port = url.port;
  if (url.kind != conf::Url::Kind::unix_socket && url.port == 0) {
    request.log(Severity::error, "no port in upstream \"" + url.host + "\"");
    return 500;
  }
  return 0;
}

std::string_view Plan::make_uri(Request& request, std::string_view replacement, bool whole) const {
  if (whole) return replacement;
  const CurrentTarget& current = request.current();
  if (replacement.empty() && current.unchanged) return request.received().target;
  Arena& arena = request.arena();
  size_t replaced = 0;
  if (current.location_valid && !replacement.empty()) {
    replaced = std::min(pass_.location.size(), current.uri.size());
  }
  std::string_view rest = current.uri.substr(replaced);
  if (current.escape_needed || current.internal) rest = escape(arena, rest, Escape::uri);
  ArenaText text(arena, replacement.size() + rest.size() + current.args.size() + 1);
  if (current.location_valid) text.append(replacement);
  text.append(rest);
  if (!current.args.empty()) {
    text.push_back('?');
    text.append(current.args);
  }
  return text.view();
}

// Content-Length and Transfer-Encoding always say what is really sent: `wanted` is false when the
// configuration removed the field, which holds where there is no body.
void Plan::add_body_field(Request& request, const BodyLength& body, HeaderId id,
                          std::string_view name, bool wanted, MessageHead& head) const {
  if (head.headers.find(id)) return;
  if (id == HeaderId::transfer_encoding) {
    if (body.kind == BodyLength::Kind::chunked) {
      head.headers.add(request.arena(), Header{name, "chunked", id});
    }
    return;
  }
  if (body.kind != BodyLength::Kind::exact || (!wanted && body.bytes == 0)) return;
  const std::string text = std::to_string(body.bytes);
  head.headers.add(request.arena(), Header{name, request.arena().copy(text), id});
}

void Plan::make_head(Request& request, const BodyLength& body, MessageHead& head) {
  Arena& arena = request.arena();
  auto& context = request.context<ProxyContext>();
  context.body = body;
  head.method = request.current().method;
  head.method_text = request.current().method_text;
  if (!proxy_.method.empty()) {
    const std::string_view method = proxy_.method.evaluate(request);
    if (!method.empty()) {
      head.method_text = method;
      head.method = find_method(method);
    }
  }
  head.target = uri;
  head.version = version_of(proxy_.http_version);
  if (tls) head.scheme = "https";
  uint64_t given = 0;
  for (const HeaderRule& rule : proxy_.headers.list) {
    given |= uint64_t{1} << static_cast<unsigned>(rule.id);
    const std::string_view value = rule.value.evaluate(request);
    if (rule.id == HeaderId::content_length || rule.id == HeaderId::transfer_encoding) {
      add_body_field(request, body, rule.id, rule.name, !value.empty(), head);
      continue;
    }
    if (!value.empty()) head.headers.add(arena, Header{rule.name, value, rule.id});
  }
  const auto is_given = [given](HeaderId id) { return given >> static_cast<unsigned>(id) & 1; };
  if (!is_given(HeaderId::host)) {
    head.headers.add(arena, Header{"Host", context.host, HeaderId::host});
  }
  add_body_field(request, body, HeaderId::content_length, "Content-Length",
                 !is_given(HeaderId::content_length), head);
  add_body_field(request, body, HeaderId::transfer_encoding, "Transfer-Encoding", true, head);
  if (!settings->pass_request_headers) return;
  for (const Header& header : request.headers()) {
    if (!proxy_.headers.names.contains(header)) head.headers.add(arena, header);
  }
}

conf::Value proxy_host(conf::VariableSource& source, const conf::Variable&) {
  const auto* context = static_cast<Request&>(source).peek<ProxyContext>();
  return context ? conf::Value::of(context->host) : conf::Value::none();
}

conf::Value proxy_port(conf::VariableSource& source, const conf::Variable&) {
  const auto* context = static_cast<Request&>(source).peek<ProxyContext>();
  return context ? conf::Value::of(context->port) : conf::Value::none();
}

conf::Value body_length(conf::VariableSource& source, const conf::Variable&) {
  Request& request = static_cast<Request&>(source);
  const auto* context = request.peek<ProxyContext>();
  if (!context || context->body.kind != BodyLength::Kind::exact) return conf::Value::none();
  return conf::Value::of(request.arena().copy(std::to_string(context->body.bytes)));
}

conf::Value body_chunked(conf::VariableSource& source, const conf::Variable&) {
  const auto* context = static_cast<Request&>(source).peek<ProxyContext>();
  if (!context || context->body.kind != BodyLength::Kind::chunked) return conf::Value::none();
  return conf::Value::of("chunked");
}

conf::Value add_x_forwarded_for(conf::VariableSource& source, const conf::Variable&) {
  Request& request = static_cast<Request&>(source);
  char address[net::Address::kHostTextSize];
  const size_t size = request.client().host_text(address);
  ArenaText text(request.arena());
  for (const Header& header : request.headers()) {
    if (header.id != HeaderId::x_forwarded_for) continue;
    text.append(header.value);
    text.append(", ");
  }
  text.append({address, size});
  return conf::Value::of(text.view());
}

}  // namespace

void set_pass(Compiler& compiler, Scope& scope, const Statement& at) {
  Builder& build = builder(compiler);
  ProxyPass pass;
  pass.place = place_of_scope(compiler, scope);
  const conf::Template target = compiler.make_template(at, at.words[1]);
  if (build.content_handler) *build.content_handler = handle;
  if (!target.is_literal()) {
    pass.target = target;
    pass.secure = true;
    scope.write_own<ProxyPass>() = std::move(pass);
    return;
  }
  std::string_view text = at.argument(0);
  if (!take_scheme(text, pass.secure)) {
    return compiler.error(at, "invalid URL prefix", "It must begin with http:// or https://.",
                          &at.words[1]);
  }
  const conf::Url url = conf::parse_url(compiler.world(), text, url_rules(pass.secure));
  if (!url.ok()) {
    return compiler.error(at, url.problem + " in upstream \"" + url.text + "\"", {}, &at.words[1]);
  }
  pass.cluster = compiler.state<UpstreamBuilder>().refer(compiler, at, url);
  pass.url = at.argument(0);
  name_host(url, pass.secure, pass.host_header, pass.port);
  pass.uri = url.uri;
  const Location* location = build.current_location;
  const bool replaces = location && location->kind != Location::Kind::regex &&
                        location->kind != Location::Kind::named &&
                        scope.context() == conf::kLocation;
  if (replaces) {
    pass.location = location->name;
  } else if (!pass.uri.empty()) {
    return compiler.error(at,
                          "\"proxy_pass\" cannot have URI part in location given by regular "
                          "expression, or inside named location, or inside \"if\" statement, or "
                          "inside \"limit_except\" block",
                          "such a location has no path that the URI could replace: leave the part "
                          "from the \"/\" behind "
                          "the host out, and change the URI with \"rewrite\"",
                          &at.words[1]);
  }
  scope.write_own<ProxyPass>() = std::move(pass);
}

PhaseResult handle(Request& request) {
  const ProxyPass* pass = request.own_settings<ProxyPass>();
  if (!pass) return PhaseResult::status(500);
  auto* plan = request.arena().make<Plan>(request.settings<ProxySettings>(), *pass);
  if (const int status = plan->aim(request)) return PhaseResult::status(status);
  return start_gateway(request, *plan);
}

GatewayPlan* make_plan(Request& request) {
  const ProxyPass* pass = request.own_settings<ProxyPass>();
  if (!pass) return nullptr;
  auto* plan = request.arena().make<Plan>(request.settings<ProxySettings>(), *pass);
  return plan->aim(request) ? nullptr : plan;
}

void define_variables(conf::VariableTable& variables) {
  const auto define = [&variables](const char* name, conf::VariableGet get, bool cacheable,
                                   bool changeable) {
    conf::Variable variable;
    variable.name = name;
    variable.get = get;
    variable.cacheable = cacheable;
    variable.changeable = changeable;
    variables.define(std::move(variable));
  };
  define("proxy_host", proxy_host, false, true);
  define("proxy_port", proxy_port, false, true);
  define("proxy_add_x_forwarded_for", add_x_forwarded_for, true, false);
  define("proxy_internal_body_length", body_length, false, false);
  define("proxy_internal_chunked", body_chunked, false, false);
}

}  // namespace weir::http::proxy
