#include "modules/http/upstream.h"

#include "confparse/setters.h"
#include "confparse/value.h"
#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "engine/http/gateway_variables.h"
#include "modules/http/modules.h"

// ngx_http_upstream_module: registers the shared upstream blocks with http, and has keepalive.
namespace weir::http {
namespace {

using conf::Compiler;
using conf::Directive;
using conf::Scope;
using conf::Statement;
using upstream::Cluster;

void set_keepalive(Compiler& compiler, Scope&, const Statement& at) {
  auto& builder = compiler.state<UpstreamBuilder>();
  if (!builder.current) return;
  if (builder.keepalive_seen) return compiler.duplicate(at);
  builder.keepalive_seen = true;
  builder.block.method_seen = true;  // nginx warns about a balancer behind it
  const std::optional<int64_t> count = conf::parse_number(at.argument(0));
  if (!count || *count > INT32_MAX) {
    return compiler.error(
        at, "invalid value \"" + std::string(at.argument(0)) + "\" in \"keepalive\" directive", {},
        &at.words[1]);
  }
  bool local = false;
  if (at.argument_count() == 2) {
    if (at.argument(1) != "local") return compiler.invalid_parameter(at, at.words[2]);
    local = true;
  }
  upstream::KeepalivePolicy& policy = builder.current->keepalive;
  policy.connections = static_cast<uint32_t>(*count);
  policy.enabled = *count != 0;
  policy.local = local;
}

void set_keepalive_requests(Compiler& compiler, Scope&, const Statement& at) {
  Cluster* cluster = compiler.state<UpstreamBuilder>().current;
  const std::optional<int64_t> value = conf::parse_number(at.argument(0));
  if (!value) {
    return compiler.error(at, "\"keepalive_requests\" directive invalid number", {}, &at.words[1]);
  }
  if (cluster) cluster->keepalive.requests = static_cast<uint64_t>(*value);
}

template <uint64_t upstream::KeepalivePolicy::* field>
void set_keepalive_time(Compiler& compiler, Scope&, const Statement& at) {
  Cluster* cluster = compiler.state<UpstreamBuilder>().current;
  const std::optional<int64_t> value = conf::parse_milliseconds(at.argument(0));
  if (!value) {
    return compiler.error(at, "\"" + std::string(at.name()) + "\" directive invalid value", {},
                          &at.words[1]);
  }
  if (cluster) cluster->keepalive.*field = static_cast<uint64_t>(*value);
}

constexpr Directive kDirectives[] = {
    shared::in_upstream(conf::kHttp, shared::kUpstreamRow),
    shared::in_upstream(conf::kUpstream, shared::kServerRow),
    shared::in_upstream(conf::kUpstream, shared::kZoneRow),
    shared::in_upstream(conf::kUpstream, shared::kResolverRow),
    shared::in_upstream(conf::kUpstream, shared::kResolverTimeoutRow),
    shared::in_upstream(conf::kUpstream, shared::kHashRow),
    shared::in_upstream(conf::kUpstream, shared::kIpHashRow),
    shared::in_upstream(conf::kUpstream, shared::kLeastConnectionsRow),
    shared::in_upstream(conf::kUpstream, shared::kLeastTimeRow),
    shared::in_upstream(conf::kUpstream, shared::kRandomRow),
    shared::in_upstream(conf::kUpstream, shared::kRetryBudgetRow),
    shared::in_upstream(conf::kHttp, shared::kStartUnresolvedRow),
    {.name = "keepalive",
     .where = conf::kUpstream,
     .args = {1, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_keepalive,
     .doc = "Keeps at most this many idle connections per worker; with \"local\", locations do not "
            "share them."},
    {.name = "keepalive_requests",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_requests,
     .doc = "Closes a connection after this many requests."},
    {.name = "keepalive_time",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_time<&upstream::KeepalivePolicy::time_milliseconds>,
     .doc = "Keeps no connection that is older."},
    {.name = "keepalive_timeout",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_time<&upstream::KeepalivePolicy::timeout_milliseconds>,
     .doc = "Closes a connection that has been idle this long."},
};

void prepare(Compiler& compiler, Scope&) {
  compiler.state<UpstreamBuilder>().begin(builder(compiler).graph().clusters);
  define_gateway_variables(compiler.variables());
}

}  // namespace

const conf::Module kUpstreamModule = {
    .name = "ngx_http_upstream_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = shared::complete_upstreams<UpstreamBuilder, CoreSettings>,
    .root = conf::kHttp,
};

}  // namespace weir::http
