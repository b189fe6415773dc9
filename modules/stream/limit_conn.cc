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
  shared::ConnectionLimitZones zones{"stream limit_conn 1"};
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

constexpr uint32_t kBoth = kStream | kStreamServer;

constexpr Directive kDirectives[] = {
    {.name = "limit_conn_zone",
     .where = kStream,
     .args = {2, 2},
     .repeat = Repeat::collect,
     .set = read_zone,
     .doc = "Shared memory in which open sessions are counted, by a key."},
    {.name = "limit_conn",
     .where = kBoth,
     .args = {2, 2},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = read_limit,
     .doc = "At most this many open sessions, for each key of the zone."},
    {.name = "limit_conn_log_level",
     .where = kBoth,
     .args = {1, 1},
     .initial = "error",
     .set = into<&shared::ConnectionLimitSettings::log_level>,
     .doc = "The level at which refusals are logged."},
    {.name = "limit_conn_dry_run",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&shared::ConnectionLimitSettings::dry_run>,
     .doc = "Counts and logs, and refuses nothing."},
};

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
