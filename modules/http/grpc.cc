#include "modules/http/grpc.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/http/modules.h"

namespace weir::http::grpc {
namespace {

// NextUpstream as the words of this module: C++ enumerators of two types cannot share one list.
constexpr NextUpstreamWord word(NextUpstream condition) {
  return static_cast<NextUpstreamWord>(static_cast<uint32_t>(condition));
}

}  // namespace
}  // namespace weir::http::grpc

template <>
struct weir::conf::EnumWords<weir::http::grpc::NextUpstreamWord> {
  using E = weir::http::grpc::NextUpstreamWord;
  using N = weir::http::NextUpstream;
  static constexpr std::pair<std::string_view, E> words[] = {
      {"error", weir::http::grpc::word(N::error)},
      {"timeout", weir::http::grpc::word(N::timeout)},
      {"invalid_header", weir::http::grpc::word(N::invalid_header)},
      {"non_idempotent", weir::http::grpc::word(N::non_idempotent)},
      {"http_500", weir::http::grpc::word(N::http_500)},
      {"http_502", weir::http::grpc::word(N::http_502)},
      {"http_503", weir::http::grpc::word(N::http_503)},
      {"http_504", weir::http::grpc::word(N::http_504)},
      {"http_403", weir::http::grpc::word(N::http_403)},
      {"http_404", weir::http::grpc::word(N::http_404)},
      {"http_429", weir::http::grpc::word(N::http_429)},
      {"off", weir::http::grpc::word(N::off)},
      {"grpc_cancelled", E::cancelled},
      {"grpc_unknown", E::unknown},
      {"grpc_invalid_argument", E::invalid_argument},
      {"grpc_deadline_exceeded", E::deadline_exceeded},
      {"grpc_not_found", E::not_found},
      {"grpc_already_exists", E::already_exists},
      {"grpc_permission_denied", E::permission_denied},
      {"grpc_resource_exhausted", E::resource_exhausted},
      {"grpc_failed_precondition", E::failed_precondition},
      {"grpc_aborted", E::aborted},
      {"grpc_out_of_range", E::out_of_range},
      {"grpc_unimplemented", E::unimplemented},
      {"grpc_internal", E::internal},
      {"grpc_unavailable", E::unavailable},
      {"grpc_data_loss", E::data_loss},
      {"grpc_unauthenticated", E::unauthenticated}};
};

namespace weir::http::grpc {
namespace {

// Fields that are never taken from the client: they have values of their own or belong to one
// connection.
constexpr std::string_view kDefaults[] = {
    "Host", "Connection", "Content-Length", "Transfer-Encoding",
    "TE",   "Keep-Alive", "Expect",         "Upgrade"};

constexpr conf::Directive kOwnRows[] = {
    {.name = "grpc_pass",
     .where = conf::kLocation | conf::kIfInLocation,
     .args = {1, 1},
     .merge = conf::Merge::own_or_if,
     .set = set_pass,
     .doc = "Passes gRPC calls to this server or group: grpc://, or grpcs:// for TLS."},
};

constexpr auto kDirectives =
    join_rows(kOwnRows, kGatewayRows<GrpcSettings, "grpc_", NextUpstreamWord>,
              kUpstreamTlsRows<GrpcSettings, "grpc_", conf::kHttpServerLocation>);

void settle(GrpcSettings& settings) {
  GatewaySettings& gateway = settings.gateway;
  // Messages pass as they come, both ways, and trailers say how the call ended.
  gateway.buffering = false;
  gateway.request_buffering = false;
  gateway.pass_trailers = true;
  settle_hidden(gateway);
  settle_names(settings.headers, kDefaults);
  settings.host_given = false;
  for (const HeaderRule& rule : settings.headers.list) {
    settings.host_given |= rule.id == HeaderId::host;
  }
}

void finish(conf::Compiler& compiler, conf::Scope& self, const conf::Scope* parent) {
  const bool changed = !parent || !self.same<GrpcSettings>(*parent);
  if (changed) settle(self.write<GrpcSettings>());
  const GrpcPass* pass = self.own<GrpcPass>();
  if (!pass) return;
  const auto& settings = self.get<GrpcSettings>();
  const std::string traits = connection_traits("grpc", settings.gateway);
  if (!changed && traits == pass->traits && !(pass->secure && !pass->tls.context)) return;
  auto& own = self.write_own<GrpcPass>();
  own.traits = traits;
  own.local_traits = traits + " in " + own.place;
  if (own.secure) own.tls = make_upstream_tls(compiler, settings.tls, "grpc_");
}

void prepare(conf::Compiler& compiler, conf::Scope&) {
  define_variables(compiler.variables());
}

}  // namespace
}  // namespace weir::http::grpc

namespace weir::http {

const conf::Module kGrpcModule = {
    .name = "ngx_http_grpc_module",
    .directives = grpc::kDirectives,
    .prepare = grpc::prepare,
    .finish = grpc::finish,
    .root = conf::kHttp,
};

}  // namespace weir::http
