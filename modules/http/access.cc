#include "modules/shared/access.h"
#include "engine/http/builder.h"
#include "engine/http/connection_facts.h"
#include "engine/http/core_settings.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_access_module: registers the shared allow and deny rules with http.
namespace weir::http {

namespace {

PhaseResult check(Request& request) {
  const auto& settings = request.settings<shared::AccessSettings>();
  if (settings.rules.empty()) return PhaseResult::next();
  switch (shared::judge(settings, request.client())) {
    case shared::AccessVerdict::allowed:
      return PhaseResult::pass();
    case shared::AccessVerdict::no_rule:
      return PhaseResult::next();
    case shared::AccessVerdict::denied:
      break;
  }
  if (request.settings<CoreSettings>().satisfy == Satisfy::all) {
    request.log(Severity::error, "access forbidden by rule");
  }
  return PhaseResult::status(403);
}

constexpr auto kDirectives = shared::access_rows(conf::kHttpServerLocation | conf::kLimitExcept);

void complete(conf::Compiler& compiler, conf::Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::access, check);
}

}  // namespace

const conf::Module kAccessModule{
    .name = "ngx_http_access_module", .directives = kDirectives, .complete = complete};

}  // namespace weir::http
