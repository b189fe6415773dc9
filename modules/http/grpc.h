#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "confparse/compiler.h"
#include "confparse/template.h"
#include "engine/http/gateway.h"
#include "engine/http/request.h"
#include "modules/http/gateway_directives.h"
#include "modules/http/upstream_tls.h"

// ngx_http_grpc_module: grpc.cc holds the directives, grpc_pass.cc grpc_pass itself and what is
// sent. grpc_web.cc and grpc_errors.cc are modules of their own.
namespace weir::http::grpc {

// Words of grpc_next_upstream. The bits of the first eleven are those of NextUpstream; the statuses
// of gRPC are this module's own.
inline constexpr unsigned kFirstStatusBit = 15;  // of status 1
enum class NextUpstreamWord : uint32_t {
  cancelled = 1u << (kFirstStatusBit + 0),
  unknown = 1u << (kFirstStatusBit + 1),
  invalid_argument = 1u << (kFirstStatusBit + 2),
  deadline_exceeded = 1u << (kFirstStatusBit + 3),
  not_found = 1u << (kFirstStatusBit + 4),
  already_exists = 1u << (kFirstStatusBit + 5),
  permission_denied = 1u << (kFirstStatusBit + 6),
  resource_exhausted = 1u << (kFirstStatusBit + 7),
  failed_precondition = 1u << (kFirstStatusBit + 8),
  aborted = 1u << (kFirstStatusBit + 9),
  out_of_range = 1u << (kFirstStatusBit + 10),
  unimplemented = 1u << (kFirstStatusBit + 11),
  internal = 1u << (kFirstStatusBit + 12),
  unavailable = 1u << (kFirstStatusBit + 13),
  data_loss = 1u << (kFirstStatusBit + 14),
  unauthenticated = 1u << (kFirstStatusBit + 15),
};

struct GrpcSettings {
  GatewaySettings gateway;
  HeaderRules headers;
  bool host_given = false;  // by grpc_set_header Host
  UpstreamTlsSettings tls;
};

// grpc_pass of one scope; nested locations do not see it.
struct GrpcPass {
  static constexpr bool kSeenByIf = true;
  conf::Template target;  // when it has variables
  const upstream::Cluster* cluster = nullptr;
  std::string authority;  // what :authority says
  bool secure = false;    // grpcs://, or it depends on variables
  UpstreamTls tls;        // when `secure`, after finish()
  std::string place;      // tells this location from others, for `keepalive … local`
  std::string traits, local_traits;
};

void set_pass(conf::Compiler&, conf::Scope&, const conf::Statement&);
void define_variables(conf::VariableTable& variables);
// The content handler.
PhaseResult handle(Request& request);
// As proxy::make_plan().
GatewayPlan* make_plan(Request& request);

}  // namespace weir::http::grpc
