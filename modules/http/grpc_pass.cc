#include "confparse/address.h"
#include "confparse/value.h"
#include "confparse/worlds.h"
#include "engine/http/builder.h"
#include "engine/http/framing.h"
#include "engine/http/h2/codec.h"
#include "engine/http/uri.h"
#include "modules/http/grpc.h"
#include "modules/http/grpc_status.h"
#include "modules/http/grpc_web.h"
#include "modules/http/upstream.h"

// grpc_pass: the directive and the content handler.
namespace weir::http::grpc {
namespace {

constexpr std::string_view kPlainScheme = "grpc://";
constexpr std::string_view kSecureScheme = "grpcs://";

bool starts_without_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         conf::equal_without_case(text.substr(0, prefix.size()), prefix);
}

// Takes the scheme off; true: TLS.
bool take_scheme(std::string_view& text) {
  if (starts_without_case(text, kSecureScheme)) {
    text.remove_prefix(kSecureScheme.size());
    return true;
  }
  if (starts_without_case(text, kPlainScheme)) text.remove_prefix(kPlainScheme.size());
  return false;
}

conf::UrlRules url_rules() {
  conf::UrlRules rules;
  rules.default_port = 0;
  rules.no_resolve = true;
  return rules;
}

std::string authority_of(const conf::Url& url) {
  if (url.kind == conf::Url::Kind::unix_socket) return "localhost";
  return url.no_port ? url.host : url.host + ":" + url.port_text;
}

std::unique_ptr<Codec> make_codec(CodecReceiver& receiver, uint32_t head_limit) {
  h2::ClientOptions options;
  options.head_limit = head_limit;
  return h2::make_client_codec(receiver, options);
}

class Plan final : public GatewayPlan {
 public:
  Plan(const GrpcSettings& settings, const GrpcPass& pass) : grpc_(settings), pass_(pass) {
    this->settings = &settings.gateway;
    make_codec = &grpc::make_codec;
    multiplexed = true;
    pass_request_trailers = true;
    alpn = "\2h2";
  }
  // 0, or the status to end with.
  int aim(Request& request);
  void make_head(Request& request, const BodyLength& body, MessageHead& head) override;
  std::string_view own_body(Request&) override { return {}; }
  std::string_view rewrite_header(Request&, const Header& header) override { return header.value; }
  NextUpstream judge_head(Request& request, const MessageHead& head) override;
  void finish_head(Request& request) override;
  bool end_broken(Request& request, int status) override;

 private:
  int aim_at_variable(Request& request, bool& secure);
  std::string_view make_path(Request& request) const;
  void add_client_fields(Request& request, MessageHead& head) const;

  const GrpcSettings& grpc_;
  const GrpcPass& pass_;
  std::string_view authority_;
  bool no_body_ = false;  // the answer ended with its head
};

int Plan::aim(Request& request) {
  bool secure = pass_.secure;
  if (pass_.target.empty()) {
    cluster = pass_.cluster;
    authority_ = pass_.authority;
  } else if (const int status = aim_at_variable(request, secure)) {
    return status;
  }
  scheme = secure ? kSecureScheme : kPlainScheme;
  if (secure) tls = &pass_.tls;
  tls_name = cluster ? std::string_view(cluster->host) : resolve_host;
  uri = {};  // the log names the peer alone, as nginx
  traits = !cluster || cluster->keepalive.local ? pass_.local_traits : pass_.traits;
  return 0;
}

int Plan::aim_at_variable(Request& request, bool& secure) {
  std::string_view text = pass_.target.evaluate(request);
  secure = take_scheme(text);
  // Literal addresses need no world, and names are left alone (no_resolve).
  static thread_local conf::VirtualWorld nowhere;
  const conf::Url url = conf::parse_url(nowhere, text, url_rules());
  if (!url.ok()) {
    request.log(Severity::error, url.problem + " in upstream \"" + url.text + "\"");
    return 500;
  }
  Arena& arena = request.arena();
  authority_ = arena.copy(authority_of(url));
  cluster = find_cluster(request, url);
  if (cluster) return 0;
  if (url.kind != conf::Url::Kind::unix_socket && url.port == 0) {
    request.log(Severity::error, "no port in upstream \"" + url.host + "\"");
    return 500;
  }
  if (!url.addresses.empty()) literal = net::Address::from_bytes(url.addresses[0].bytes);
  resolve_host = arena.copy(url.host);
  resolve_port = url.port;
  return 0;
}

std::string_view Plan::make_path(Request& request) const {
  const CurrentTarget& current = request.current();
  if (current.unchanged) return request.received().target;
  std::string_view path = current.uri;
  if (current.escape_needed || current.internal) path = escape(request.arena(), path, Escape::uri);
  if (current.args.empty()) return path;
  ArenaText text(request.arena(), path.size() + current.args.size() + 1);
  text.append(path);
  text.push_back('?');
  text.append(current.args);
  return text.view();
}

// What the client's fields become: all but those that belong to one connection or are set here.
void Plan::add_client_fields(Request& request, MessageHead& head) const {
  Arena& arena = request.arena();
  for (const Header& header : request.headers()) {
    if (grpc_.headers.names.contains(header)) continue;
    Header field = header;
    field.name = lower_case(arena, header.name);
    if (header.id == HeaderId::content_type && web_kind(request) != Kind::none) {
      field.value = plain_content_type(request);
    }
    head.headers.add(arena, field);
  }
}

void Plan::make_head(Request& request, const BodyLength& body, MessageHead& head) {
  Arena& arena = request.arena();
  head.version = Version::http_2;
  head.method = request.current().method;
  head.method_text = request.current().method_text;
  head.scheme = tls ? "https" : "http";
  head.target = make_path(request);
  head.authority = authority_;
  uint64_t given = 0;
  for (const HeaderRule& rule : grpc_.headers.list) {
    const bool first = !(given >> static_cast<unsigned>(rule.id) & 1);
    given |= uint64_t{1} << static_cast<unsigned>(rule.id);
    const std::string_view value = rule.value.evaluate(request);
    // The length says what is really sent.
    if (value.empty() || rule.id == HeaderId::content_length) continue;
    if (rule.id == HeaderId::host && first) {
      // nginx sends it as `host`, without :authority; to the peer that is the same (RFC 9113
      // section 8.3.1), but not all know.
      head.authority = value;
      continue;
    }
    head.headers.add(arena, Header{lower_case(arena, rule.name), value, rule.id});
  }
  const auto is_given = [given](HeaderId id) { return given >> static_cast<unsigned>(id) & 1; };
  // A stream's length is the client's to tell, even where all of it happens to be here.
  if (body.kind == BodyLength::Kind::exact && !is_given(HeaderId::content_length) &&
      request.headers().find(HeaderId::content_length)) {
    const std::string_view length = arena.copy(std::to_string(body.bytes));
    head.headers.add(arena, Header{"content-length", length, HeaderId::content_length});
  }
  if (!is_given(HeaderId::te)) {
    const Header* te = request.headers().find(HeaderId::te);
    if ((te && has_token(te->value, "trailers")) || web_kind(request) != Kind::none) {
      head.headers.add(arena, Header{"te", "trailers", HeaderId::te});
    }
  }
  add_client_fields(request, head);
}

NextUpstream Plan::judge_head(Request&, const MessageHead& head) {
  no_body_ = head.body.kind == BodyLength::Kind::none;
  const Header* field = head.headers.find("grpc-status");
  if (!field) return NextUpstream::none;
  const auto status = parse_status(field->value);
  if (!status || *status == Status::ok) return NextUpstream::none;
  return static_cast<NextUpstream>(1u << (kFirstStatusBit + static_cast<unsigned>(*status) - 1));
}

void Plan::finish_head(Request& request) {
  Response& response = request.response();
  if (no_body_ && request.current().method != Method::head) {
    // One head has to stay one: only as such is it the end of a call.
    response.content_length = 0;
    response.header_only = true;
  } else if (response.content_length < 0) {
    response.expect_trailers = true;
  }
  begin_web_response(request);
}

bool Plan::end_broken(Request& request, int status) {
  Response& response = request.response();
  if (kind_of(response.content_type) == Kind::none) return false;
  if (request.received().version < Version::http_1_1) return false;
  Arena& arena = request.arena();
  response.trailers.clear();
  response.trailers.add(
      arena, Header{"grpc-status", number_text(status_of_http(status)), HeaderId::other});
  response.trailers.add(
      arena, Header{"grpc-message", encode_message(arena, reason_phrase(status)), HeaderId::other});
  request.send(Chain(), true);
  return true;
}

conf::Value internal_trailers(conf::VariableSource& source, const conf::Variable&) {
  const Header* te = static_cast<Request&>(source).headers().find(HeaderId::te);
  if (!te || !has_token(te->value, "trailers")) return conf::Value::none();
  return conf::Value::of("trailers");
}

}  // namespace

void set_pass(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& at) {
  Builder& build = builder(compiler);
  GrpcPass pass;
  pass.place = place_of_scope(compiler, scope);
  const conf::Template target = compiler.make_template(at, at.words[1]);
  if (build.content_handler) *build.content_handler = handle;
  if (build.current_location) build.current_location->streams_bodies = true;
  if (!target.is_literal()) {
    pass.target = target;
    pass.secure = true;
    scope.write_own<GrpcPass>() = std::move(pass);
    return;
  }
  std::string_view text = at.argument(0);
  pass.secure = take_scheme(text);
  const conf::Url url = conf::parse_url(compiler.world(), text, url_rules());
  if (!url.ok()) {
    return compiler.error(at, url.problem + " in upstream \"" + url.text + "\"", {}, &at.words[1]);
  }
  pass.cluster = compiler.state<UpstreamBuilder>().refer(compiler, at, url);
  pass.authority = authority_of(url);
  scope.write_own<GrpcPass>() = std::move(pass);
}

PhaseResult handle(Request& request) {
  const GrpcPass* pass = request.own_settings<GrpcPass>();
  if (!pass) return PhaseResult::status(500);
  begin_web_request(request);
  auto* plan = request.arena().make<Plan>(request.settings<GrpcSettings>(), *pass);
  if (const int status = plan->aim(request)) return PhaseResult::status(status);
  return start_gateway(request, *plan);
}

GatewayPlan* make_plan(Request& request) {
  const GrpcPass* pass = request.own_settings<GrpcPass>();
  if (!pass) return nullptr;
  auto* plan = request.arena().make<Plan>(request.settings<GrpcSettings>(), *pass);
  return plan->aim(request) ? nullptr : plan;
}

void define_variables(conf::VariableTable& variables) {
  conf::Variable variable;
  variable.name = "grpc_internal_trailers";
  variable.get = internal_trailers;
  variable.cacheable = false;
  variables.define(std::move(variable));
}

}  // namespace weir::http::grpc
