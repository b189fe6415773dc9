#include "modules/stream/health_check.h"

#include "confparse/setters.h"
#include "engine/stream/builder.h"
#include "modules/shared/health_check.h"
#include "modules/shared/upstream.h"
#include "modules/stream/modules.h"
#include "modules/stream/proxy.h"

// health_check, health_check_timeout and match: the directives.
namespace weir::stream {
namespace {

using conf::Compiler;
using conf::Scope;
using shared::ParameterUse;

struct StreamChecks {
  using Check = StreamHealthCheck;
  using Match = HealthMatch;

  static void begin(Compiler& compiler, Check& check) {
    check.server = builder(compiler).current_server;
  }
  static ParameterUse read_own(std::string_view text, Check& check) {
    if (text != "udp") return ParameterUse::unknown;
    check.datagram = true;
    return ParameterUse::taken;
  }
  static const upstream::Cluster* find_upstream(Compiler& compiler, const conf::Statement& at,
                                                Check& check) {
    const auto* pass = check.server->content == proxy::handle
                           ? check.server->scope->own<proxy::ProxyPass>()
                           : nullptr;
    if (pass && pass->cluster) return pass->cluster;
    compiler.error(at, "\"health_check\" requires \"proxy_pass\" to an upstream",
                   "without variables, and in the same server");
    return nullptr;
  }
  static std::string key(const Check& check) {
    return "match=" + check.match + " port=" + std::to_string(check.port) +
           (check.datagram ? " udp" : " tcp");
  }
};
using Checks = shared::HealthChecks<StreamChecks>;

constexpr conf::Directive kDirectives[] = {
    Checks::check_row(
        conf::kStreamServer,
        "Connects to the servers of the upstream again and again, and leaves out those that do "
        "not answer as they should: interval=, jitter=, fails=, passes=, mandatory, "
        "persistent, match=, port=, udp."),
    {.name = "health_check_timeout",
     .where = conf::kStream | conf::kStreamServer,
     .args = {1, 1},
     .initial = "5s",
     .set = conf::into<&HealthSettings::timeout>,
     .doc = "How long one health check may take."},
    Checks::match_row(conf::kStream, "What a health check sends, and what the answer has to hold."),
};

void complete(Compiler& compiler, Scope&) {
  compiler.state<Checks>().complete(compiler, builder(compiler).graph().clusters);
  compiler.state<shared::StreamUpstreams>().check_zones(compiler);
}

}  // namespace

const ErrorLogTargets& StreamHealthCheck::log_targets(const Generation& generation) const {
  const auto& targets = server->scope->get<CoreSettings>().error_log;
  return targets ? *targets : *generation.stream->error_log;
}

const conf::Module kHealthCheckModule = {
    .name = "ngx_stream_upstream_hc_module",
    .directives = kDirectives,
    .complete = complete,
    .root = conf::kStream,
};

}  // namespace weir::stream
