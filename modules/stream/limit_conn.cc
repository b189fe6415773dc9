#include "modules/shared/limit_conn.h"

#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_limit_conn_module: registers the shared connection limits with stream.
namespace weir::stream {

namespace {

using namespace conf;

struct Zones final : CompilerState {
  shared::ConnectionLimitZones zones{"stream limit_conn 2"};
};

// Of a session; ends the counts with it.
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

PhaseResult check(Session& session) {
  const auto& settings = session.settings<shared::ConnectionLimitSettings>();
  if (settings.limits.empty()) return PhaseResult::next();
  auto& state = session.context<LimitConnState>();
  state.verdict = state.counted.count(
      settings, session,
      [&](Severity severity, const std::string& text) { session.log(severity, text); });
  if (state.verdict != shared::ConnectionVerdict::rejected) return PhaseResult::next();
  return PhaseResult::end(503);
}

Value get_status(VariableSource& source, const Variable&) {
  const auto* state = session_of(source).peek<LimitConnState>();
  if (!state || state->verdict == shared::ConnectionVerdict::none) return Value::none();
  return Value::of(shared::text_of(state->verdict));
}

constexpr auto kDirectives = shared::limit_conn_rows(
    kStream, kStream | kStreamServer, read_zone, read_limit,
    {.zone = "Shared memory in which open sessions are counted, by a key.",
     .limit = "At most this many open sessions, for each key of the zone."});

void prepare(Compiler& compiler, Scope&) {
  define(compiler, {.name = "limit_conn_status", .get = get_status, .cacheable = false});
}

void complete(Compiler& compiler, Scope&) {
  builder(compiler).add_phase_handler(Phase::preaccess, check);
}

}  // namespace

const conf::Module kLimitConnModule{
    .name = "ngx_stream_limit_conn_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
    .root = conf::kStream,
};

}  // namespace weir::stream
