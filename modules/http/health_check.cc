#include "modules/http/health_check.h"

#include "confparse/value.h"
#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "modules/http/grpc.h"
#include "modules/http/grpc_status.h"
#include "modules/http/modules.h"
#include "modules/http/proxy.h"
#include "modules/http/upstream.h"
#include "modules/shared/health_check.h"

// health_check and match: the directives.
namespace weir::http {
namespace {

using conf::Compiler;
using conf::Scope;
using shared::ParameterUse;

// What stands behind type=grpc.
bool read_grpc_parameter(std::string_view text, HttpHealthCheck& check) {
  if (text.starts_with("grpc_service=")) {
    check.grpc_service = text.substr(13);
    return !check.grpc_service.empty();
  }
  if (!text.starts_with("grpc_status=")) return false;
  const auto status = conf::parse_number(text.substr(12));
  if (!status || *status < 1 || *status > INT32_MAX) return false;
  check.grpc_status = static_cast<int>(*status);
  return true;
}

struct HttpChecks {
  using Check = HttpHealthCheck;
  using Match = HealthMatch;

  static void begin(Compiler& compiler, Check& check) {
    check.location = builder(compiler).current_location;
  }

  static ParameterUse read_own(std::string_view text, Check& check) {
    const auto taken = [](bool well) { return well ? ParameterUse::taken : ParameterUse::wrong; };
    if (check.grpc) return taken(read_grpc_parameter(text, check));
    if (text.starts_with("uri=")) {
      check.uri = text.substr(4);
      check.uri_given = true;
      return taken(check.uri.starts_with('/'));
    }
    if (text.starts_with("keepalive_time=")) {
      const auto time = conf::parse_milliseconds(text.substr(15));
      check.keepalive_milliseconds = static_cast<uint64_t>(time.value_or(0));
      return taken(time.has_value());
    }
    if (text != "type=grpc") return ParameterUse::unknown;
    if (check.uri_given || !check.match.empty()) return ParameterUse::wrong;
    check.grpc = true;
    check.uri = "/grpc.health.v1.Health/Check";
    return ParameterUse::taken;
  }

  // That the location passes its requests to.
  static const upstream::Cluster* find_upstream(Compiler& compiler, const conf::Statement& at,
                                                Check& check) {
    const Location& location = *check.location;
    const upstream::Cluster* cluster = nullptr;
    bool is_grpc = false;
    if (location.content_handler == proxy::handle) {
      if (const auto* pass = location.scope->own<proxy::ProxyPass>()) cluster = pass->cluster;
      check.make_plan = proxy::make_plan;
    } else if (location.content_handler == grpc::handle) {
      if (const auto* pass = location.scope->own<grpc::GrpcPass>()) cluster = pass->cluster;
      check.make_plan = grpc::make_plan;
      is_grpc = true;
    }
    if (!cluster) {
      compiler.error(at, "\"health_check\" requires \"proxy_pass\" or \"grpc_pass\" to an upstream",
                     "without variables, and in the same location");
      return nullptr;
    }
    if (check.grpc && !is_grpc) {
      compiler.error(at, "\"type=grpc\" requires \"grpc_pass\"");
      return nullptr;
    }
    return cluster;
  }

  static std::string key(const Check& check) {
    return "uri=" + check.uri + " match=" + check.match + " port=" + std::to_string(check.port) +
           " service=" + check.grpc_service;
  }
};
using Checks = shared::HealthChecks<HttpChecks>;

constexpr conf::Directive kDirectives[] = {
    Checks::check_row(
        conf::kLocation,
        "Asks the servers of the location's upstream again and again, and leaves out those that "
        "do not answer as they should: interval=, jitter=, fails=, passes=, uri=, mandatory, "
        "persistent, match=, port=, keepalive_time=, type=grpc with grpc_service= and "
        "grpc_status=."),
    Checks::match_row(conf::kHttp, "What the answer to a health check has to be."),
};

void complete(Compiler& compiler, Scope&) {
  compiler.state<Checks>().complete(compiler, builder(compiler).graph().clusters);
  compiler.state<UpstreamBuilder>().check_zones(compiler);
}

}  // namespace

const ErrorLogTargets& HttpHealthCheck::log_targets(const Generation& generation) const {
  const auto& targets = location->scope->get<CoreSettings>().error_log;
  return targets ? *targets : *generation.http->error_log;
}

const conf::Module kHealthCheckModule = {
    .name = "ngx_http_upstream_hc_module",
    .directives = kDirectives,
    .complete = complete,
};

}  // namespace weir::http
