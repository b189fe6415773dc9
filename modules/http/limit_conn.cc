#include "modules/shared/limit_conn.h"

#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "engine/http/tunnel_handover.h"
#include "modules/http/limit_status.h"
#include "modules/http/modules.h"
#include "modules/shared/rows.h"

// ngx_http_limit_conn_module: registers the shared connection limits with http.
namespace weir::http {

namespace {

using namespace conf;

struct LimitConnStatus {
  Number status{503};
};

struct Zones final : CompilerState {
  shared::ConnectionLimitZones zones{"http limit_conn 2"};
};

// Of the main request; ends the counts with it.
struct LimitConnState {
  shared::ConnectionVerdict verdict = shared::ConnectionVerdict::none;
  shared::CountedConnection counted;
};

void read_zone(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.state<Zones>().zones.read_zone(compiler, statement);
}

void read_limit(Compiler& compiler, Scope& scope, const Statement& statement) {
  compiler.state<Zones>().zones.read_limit(
      compiler, scope, scope.write<shared::ConnectionLimitSettings>(), statement);
}

PhaseResult check(Request& request) {
  const auto& settings = request.settings<shared::ConnectionLimitSettings>();
  if (settings.limits.empty()) return PhaseResult::next();
  auto& state = request.main().lasting_context<LimitConnState>();
  if (state.verdict != shared::ConnectionVerdict::none) return PhaseResult::next();
  state.verdict = state.counted.count(
      settings, request,
      [&](Severity severity, const std::string& text) { request.log(severity, text); });
  if (state.verdict != shared::ConnectionVerdict::rejected) return PhaseResult::next();
  return PhaseResult::status(static_cast<int>(request.settings<LimitConnStatus>().status.value));
}

Value get_status(VariableSource& source, const Variable&) {
  const auto* state = static_cast<Request&>(source).main().peek<LimitConnState>();
  if (!state || state->verdict == shared::ConnectionVerdict::none) return Value::none();
  return Value::of(shared::text_of(state->verdict));
}

// A tunnel counts until it ends, without its request.
class TunnelCount final : public LateLog {
 public:
  explicit TunnelCount(shared::CountedConnection counted) : counted_(std::move(counted)) {}
  void finish(const TunnelEnd&) override { counted_.release(); }

 private:
  shared::CountedConnection counted_;
};

std::unique_ptr<LateLog> keep_for_tunnel(Request& request) {
  auto* state = request.main().peek<LimitConnState>();
  if (!state || state->counted.empty()) return nullptr;
  return std::make_unique<TunnelCount>(std::move(state->counted));
}

constexpr auto kShared = shared::limit_conn_rows(
    kHttp, kHttpServerLocation, read_zone, read_limit,
    {.zone = "Shared memory in which requests under way are counted, by a key.",
     .limit = "At most this many requests under way at once, for each key of the zone."});
constexpr Directive kOwn[] = {
    {.name = "limit_conn_status",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "503",
     .set = read_limit_status<&LimitConnStatus::status>,
     .doc = "The status of refused requests."},
};
constexpr auto kDirectives = join_rows(kShared, kOwn);

void prepare(Compiler& compiler, Scope&) {
  Variable status;
  status.name = "limit_conn_status";
  status.get = get_status;
  status.cacheable = false;
  compiler.variables().define(status);
}

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::preaccess, check);
  builder(compiler).graph().hooks.tunnel_log_handlers.push_back(keep_for_tunnel);
}

}  // namespace

const conf::Module kLimitConnModule{
    .name = "ngx_http_limit_conn_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
};

}  // namespace weir::http
