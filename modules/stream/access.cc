#include "modules/shared/access.h"

#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"

// ngx_stream_access_module: registers the shared allow and deny rules with stream.
namespace weir::stream {

namespace {

PhaseResult check(Session& session) {
  const auto& settings = session.settings<shared::AccessSettings>();
  switch (shared::judge(settings, session.peer())) {
    case shared::AccessVerdict::no_rule:
      return PhaseResult::next();
    case shared::AccessVerdict::allowed:
      return PhaseResult::pass();
    case shared::AccessVerdict::denied:
      break;
  }
  session.log(Severity::error, "access forbidden by rule");
  return PhaseResult::end(403);
}

constexpr auto kDirectives = shared::access_rows(conf::kStream | conf::kStreamServer);

void complete(conf::Compiler& compiler, conf::Scope&) {
  builder(compiler).add_phase_handler(Phase::access, check);
}

}  // namespace

const conf::Module kAccessModule{.name = "ngx_stream_access_module",
                                 .directives = kDirectives,
                                 .complete = complete,
                                 .root = conf::kStream};

}  // namespace weir::stream
