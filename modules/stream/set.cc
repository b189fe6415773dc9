#include "confparse/setters.h"
#include "confparse/value.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"

// ngx_stream_set_module: set.
namespace weir::stream {

namespace {

using namespace conf;

struct Assignment {
  VariableId variable = kNoVariable;
  Template value;
};

struct SetSettings {
  static constexpr bool kSeenByIf = false;
  std::vector<Assignment> assignments;  // in reading order
};

// Before it was assigned: empty, and not "-" in log lines.
Value not_set(VariableSource&, const Variable&) {
  return Value::of({});
}

void read_set(Compiler& compiler, Scope& scope, const Statement& statement) {
  const std::string_view text = statement.argument(0);
  if (!text.starts_with("$") || text.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(text) + "\"",
                   "the name begins with $", &statement.words[1]);
    return;
  }
  const std::string_view name = text.substr(1);
  Variable variable;
  variable.name = name;
  variable.get = not_set;
  variable.changeable = true;
  variable.weak = true;
  const Variable* known = compiler.variables().find(lower_case(name));
  if (known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + std::string(name) + "\" variable",
                   "this variable is nginx's own", &statement.words[1]);
    return;
  }
  if (!known) compiler.variables().define(std::move(variable));
  Assignment assignment;
  assignment.variable = compiler.variables().use(name);
  assignment.value = compiler.make_template(statement, statement.words[2]);
  scope.write_own<SetSettings>().assignments.push_back(std::move(assignment));
}

PhaseResult assign(Session& session) {
  const auto* settings = session.own_settings<SetSettings>();
  if (!settings) return PhaseResult::next();
  for (const Assignment& assignment : settings->assignments) {
    const std::string_view value = assignment.value.evaluate(session);
    session.set_variable(assignment.variable, Value::of(value));
  }
  return PhaseResult::next();
}

constexpr Directive kDirectives[] = {
    {.name = "set",
     .where = kStreamServer,
     .args = {2, 2},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_set,
     .doc = "Assigns to a variable."},
};

// A server that was chosen by name since: its assignments count as well.
PhaseResult assign_of_chosen(Session& session) {
  if (&session.server() == session.listener().default_server) return PhaseResult::next();
  return assign(session);
}

// As in nginx before limit_conn and access: nothing is known of TLS then.
void complete(Compiler& compiler, Scope&) {
  auto& handlers = builder(compiler).graph().hooks.phases[static_cast<size_t>(Phase::preaccess)];
  handlers.insert(handlers.begin(), assign);
  builder(compiler).add_phase_handler(Phase::preread, assign_of_chosen);
}

}  // namespace

const conf::Module kSetModule{.name = "ngx_stream_set_module",
                              .directives = kDirectives,
                              .complete = complete,
                              .root = conf::kStream};

}  // namespace weir::stream
