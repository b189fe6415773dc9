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
using conf::Directive;
using conf::Scope;
using conf::Statement;
using conf::Word;
using shared::ParameterUse;

class Checks final : public conf::CompilerState {
 public:
  shared::MatchBlocks<HealthMatch> matches;
  struct Pending {
    const Statement* at;
    std::shared_ptr<StreamHealthCheck> check;
  };
  std::vector<Pending> pending;  // until all upstreams and match blocks are known
};

void set_match(Compiler& compiler, Scope&, const Statement& at) {
  const auto match = compiler.state<Checks>().matches.define(compiler, at);
  if (match) match->read(compiler, at);
}

void set_health_check(Compiler& compiler, Scope&, const Statement& at) {
  auto check = std::make_shared<StreamHealthCheck>();
  check->server = builder(compiler).current_server;
  for (const Word& word : at.words.subspan(1)) {
    if (word.text == "udp") {
      check->datagram = true;
      continue;
    }
    const ParameterUse use = shared::read_health_parameter(compiler, at, word, *check);
    if (use == ParameterUse::wrong) return;
    if (use == ParameterUse::unknown) return compiler.invalid_parameter(at, word);
  }
  compiler.state<Checks>().pending.push_back({&at, std::move(check)});
}

constexpr Directive kDirectives[] = {
    {.name = "health_check",
     .where = conf::kStreamServer,
     .args = {0, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_health_check,
     .doc = "Connects to the servers of the upstream again and again, and leaves out those that do "
            "not answer as they should: interval=, jitter=, fails=, passes=, mandatory, "
            "persistent, match=, port=, udp."},
    {.name = "health_check_timeout",
     .where = conf::kStream | conf::kStreamServer,
     .args = {1, 1},
     .initial = "5s",
     .set = conf::into<&HealthSettings::timeout>,
     .doc = "How long one health check may take."},
    {.name = "match",
     .where = conf::kStream,
     .args = {1, 1},
     .form = conf::Form::block,
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_match,
     .doc = "What a health check sends, and what the answer has to hold."},
};

void complete(Compiler& compiler, Scope&) {
  auto& checks = compiler.state<Checks>();
  for (const Checks::Pending& pending : checks.pending) {
    StreamHealthCheck& check = *pending.check;
    const auto* pass = check.server->content == proxy::handle
                           ? check.server->scope->own<proxy::ProxyPass>()
                           : nullptr;
    if (!pass || !pass->cluster) {
      compiler.error(*pending.at, "\"health_check\" requires \"proxy_pass\" to an upstream",
                     "without variables, and in the same server");
      continue;
    }
    check.tests = checks.matches.find(compiler, *pending.at, check.match);
    if (!check.match.empty() && !check.tests) continue;
    check.key = "match=" + check.match + " port=" + std::to_string(check.port) +
                (check.datagram ? " udp" : " tcp");
    shared::add_health_check(compiler, *pending.at, builder(compiler).graph().clusters,
                             pass->cluster, pending.check);
  }
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
