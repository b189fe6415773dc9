#include "confparse/value.h"
#include "modules/http/modules.h"
#include "modules/http/upstream.h"

// queue: requests wait for a server with room. What it does is in engine/upstream/queue and
// engine/http/gateway_queue.
namespace weir::http {
namespace {

void set_queue(conf::Compiler& compiler, conf::Scope&, const conf::Statement& at) {
  auto& builder = compiler.state<UpstreamBuilder>();
  if (!builder.current) return;
  builder.block.method_seen = true;  // a balancer comes before it
  const auto number = conf::parse_number(at.argument(0));
  if (!number || *number == 0 || *number > INT32_MAX) {
    return compiler.error(
        at, "invalid value \"" + std::string(at.argument(0)) + "\" in \"queue\" directive", {},
        &at.words[1]);
  }
  upstream::QueuePolicy policy;
  policy.limit = static_cast<uint32_t>(*number);
  if (at.argument_count() == 2) {
    const std::string_view word = at.argument(1);
    const auto time = word.starts_with("timeout=") ? conf::parse_milliseconds(word.substr(8))
                                                   : std::optional<int64_t>();
    // With 0 nobody would wait, and it may be meant as "for ever".
    if (!time || *time == 0) {
      return compiler.invalid_parameter(at, at.words[2], "queue NUMBER [timeout=TIME]");
    }
    policy.timeout_milliseconds = static_cast<uint64_t>(*time);
  }
  builder.current->queue = policy;
}

constexpr conf::Directive kDirectives[] = {
    {.name = "queue",
     .where = conf::kUpstream,
     .args = {1, 2},
     .merge = conf::Merge::own,
     .set = set_queue,
     .doc = "Up to this many requests of a worker wait when all servers have reached max_conns."},
};

}  // namespace

const conf::Module kUpstreamQueueModule = {
    .name = "ngx_http_upstream_queue_module",
    .directives = kDirectives,
    .root = conf::kHttp,
};

}  // namespace weir::http
