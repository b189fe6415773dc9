#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_auth_request_module: a subrequest decides about access.
namespace weir::http {

namespace {

using namespace conf;

struct SetRule {
  VariableId variable;
  Template value;
};

struct AuthSettings {
  std::string uri;  // empty: off
  std::vector<SetRule> set;
};

void set_uri(Compiler&, Scope& scope, const Statement& statement) {
  const std::string_view value = statement.argument(0);
  scope.write<AuthSettings>().uri = value == "off" ? "" : std::string(value);
}

void set_variable(Compiler& compiler, Scope& scope, const Statement& statement) {
  const std::string_view name = statement.argument(0);
  if (!name.starts_with("$") || name.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(name) + "\"",
                   "a variable's name begins with $", &statement.words[1]);
    return;
  }
  auto& settings = scope.write<AuthSettings>();
  if (compiler.first_use(scope)) settings.set.clear();
  const Variable* known = compiler.variables().find(name.substr(1));
  if (known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + std::string(name.substr(1)) + "\" variable", {},
                   &statement.words[1]);
    return;
  }
  if (!known) {
    Variable variable;
    variable.name = name.substr(1);
    variable.changeable = true;
    variable.weak = true;
    variable.get = [](VariableSource&, const Variable&) { return Value::none(); };
    compiler.variables().define(variable);
  }
  settings.set.push_back({compiler.variables().use(name.substr(1)),
                          compiler.make_template(statement, statement.words[2])});
}

PhaseResult verdict(Request& request, Request& answer) {
  const auto& settings = request.settings<AuthSettings>();
  for (const SetRule& rule : settings.set) {
    // Evaluated in the subrequest, where $upstream_http_* are those of its answer.
    request.set_variable(rule.variable, Value::of(rule.value.evaluate(answer)));
  }
  const int status = answer.finish_status();
  if (status == 401) {
    const HeaderList& fields = answer.response().headers;
    for (const Header& field : fields) {
      if (field.id == HeaderId::www_authenticate)
        request.response().headers.add(request.arena(), field);
    }
    return PhaseResult::status(401);
  }
  if (status == 403) return PhaseResult::status(403);
  if (status >= 200 && status < 300) return PhaseResult::pass();
  request.log(Severity::error, "auth request unexpected status: " + std::to_string(status));
  return PhaseResult::status(500);
}

Task<PhaseResult> ask(Request& request) {
  Request* subrequest = request.start_subrequest(request.settings<AuthSettings>().uri, {},
                                                 SubrequestOutput::discard_body);
  if (!subrequest) co_return PhaseResult::status(500);
  while (!subrequest->finished()) {
    const Wait wait = co_await request.event().wait();
    if (wait == Wait::cancelled) co_return PhaseResult::status(499);
  }
  co_return verdict(request, *subrequest);
}

PhaseResult check(Request& request) {
  if (request.settings<AuthSettings>().uri.empty()) return PhaseResult::next();
  return PhaseResult::pending(ask(request));
}

constexpr Directive kDirectives[] = {
    {.name = "auth_request",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .set = set_uri,
     .doc = "Asks this location whether the request may pass: 2xx yes, 401 and 403 no."},
    {.name = "auth_request_set",
     .where = kHttpServerLocation,
     .args = {2, 2},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_variable,
     .doc = "Keeps a value of the answer in a variable."},
};

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::access, check);
}

}  // namespace

const conf::Module kAuthRequestModule{
    .name = "ngx_http_auth_request_module",
    .directives = kDirectives,
    .complete = complete,
    .configure_argument = "--with-http_auth_request_module",
};

}  // namespace weir::http
