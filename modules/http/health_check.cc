#include "modules/http/health_check.h"

#include "confparse/value.h"
#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "modules/http/grpc.h"
#include "modules/http/grpc_status.h"
#include "modules/http/modules.h"
#include "modules/http/proxy.h"
#include "modules/http/upstream.h"
#include "modules/shared/health_check.h"

// health_check and match: the directives.
namespace weir::http {
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
    std::shared_ptr<HttpHealthCheck> check;
  };
  std::vector<Pending> pending;  // until all upstreams and match blocks are known
};

void set_match(Compiler& compiler, Scope&, const Statement& at) {
  const auto match = compiler.state<Checks>().matches.define(compiler, at);
  if (match) match->read(compiler, at);
}

// What stands behind type=grpc.
bool read_grpc_parameter(std::string_view text, HttpHealthCheck& check) {
  if (text.starts_with("grpc_service=")) {
    check.grpc_service = text.substr(13);
    return !check.grpc_service.empty();
  }
  if (!text.starts_with("grpc_status=")) return false;
  const auto status = conf::parse_number(text.substr(12));
  if (!status || *status < 1 || *status > INT32_MAX) return false;
  check.grpc_status = static_cast<int>(*status);
  return true;
}

bool read_http_parameter(std::string_view text, HttpHealthCheck& check) {
  if (text.starts_with("uri=")) {
    check.uri = text.substr(4);
    check.uri_given = true;
    return check.uri.starts_with('/');
  }
  if (text.starts_with("keepalive_time=")) {
    const auto time = conf::parse_milliseconds(text.substr(15));
    if (!time) return false;
    check.keepalive_milliseconds = static_cast<uint64_t>(*time);
    return true;
  }
  if (text != "type=grpc" || check.uri_given || !check.match.empty()) return false;
  check.grpc = true;
  return true;
}

void set_health_check(Compiler& compiler, Scope&, const Statement& at) {
  auto check = std::make_shared<HttpHealthCheck>();
  check->location = builder(compiler).current_location;
  for (const Word& word : at.words.subspan(1)) {
    if (check->grpc) {
      if (!read_grpc_parameter(word.text, *check)) return compiler.invalid_parameter(at, word);
      continue;
    }
    const ParameterUse use = shared::read_health_parameter(compiler, at, word, *check);
    if (use == ParameterUse::wrong) return;
    if (use == ParameterUse::unknown && !read_http_parameter(word.text, *check)) {
      return compiler.invalid_parameter(at, word);
    }
  }
  if (check->grpc) check->uri = "/grpc.health.v1.Health/Check";
  compiler.state<Checks>().pending.push_back({&at, std::move(check)});
}

constexpr Directive kDirectives[] = {
    {.name = "health_check",
     .where = conf::kLocation,
     .args = {0, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_health_check,
     .doc =
         "Asks the servers of the location's upstream again and again, and leaves out those that "
         "do not answer as they should: interval=, jitter=, fails=, passes=, uri=, mandatory, "
         "persistent, match=, port=, keepalive_time=, type=grpc with grpc_service= and "
         "grpc_status=."},
    {.name = "match",
     .where = conf::kHttp,
     .args = {1, 1},
     .form = conf::Form::block,
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_match,
     .doc = "What the answer to a health check has to be."},
};

// Finds the upstream that the location passes its requests to. Null after an error.
const upstream::Cluster* find_upstream(Compiler& compiler, const Checks::Pending& pending) {
  const Location& location = *pending.check->location;
  const upstream::Cluster* cluster = nullptr;
  bool is_grpc = false;
  if (location.content_handler == proxy::handle) {
    if (const auto* pass = location.scope->own<proxy::ProxyPass>()) cluster = pass->cluster;
    pending.check->make_plan = proxy::make_plan;
  } else if (location.content_handler == grpc::handle) {
    if (const auto* pass = location.scope->own<grpc::GrpcPass>()) cluster = pass->cluster;
    pending.check->make_plan = grpc::make_plan;
    is_grpc = true;
  }
  if (!cluster) {
    compiler.error(*pending.at,
                   "\"health_check\" requires \"proxy_pass\" or \"grpc_pass\" to an upstream",
                   "without variables, and in the same location");
    return nullptr;
  }
  if (pending.check->grpc && !is_grpc) {
    compiler.error(*pending.at, "\"type=grpc\" requires \"grpc_pass\"");
    return nullptr;
  }
  return cluster;
}

void complete(Compiler& compiler, Scope&) {
  auto& checks = compiler.state<Checks>();
  for (const Checks::Pending& pending : checks.pending) {
    HttpHealthCheck& check = *pending.check;
    const upstream::Cluster* cluster = find_upstream(compiler, pending);
    if (!cluster) continue;
    check.tests = checks.matches.find(compiler, *pending.at, check.match);
    if (!check.match.empty() && !check.tests) continue;
    check.key = "uri=" + check.uri + " match=" + check.match +
                " port=" + std::to_string(check.port) + " service=" + check.grpc_service;
    shared::add_health_check(compiler, *pending.at, builder(compiler).graph().clusters, cluster,
                             pending.check);
  }
  compiler.state<UpstreamBuilder>().check_zones(compiler);
}

}  // namespace

const ErrorLogTargets& HttpHealthCheck::log_targets(const Generation& generation) const {
  const auto& targets = location->scope->get<CoreSettings>().error_log;
  return targets ? *targets : *generation.http->error_log;
}

const conf::Module kHealthCheckModule = {
    .name = "ngx_http_upstream_hc_module",
    .directives = kDirectives,
    .complete = complete,
};

}  // namespace weir::http
