#pragma once

#include <memory>

#include "engine/stream/graph.h"
#include "engine/upstream/health.h"
#include "modules/stream/health_match.h"

// ngx_stream_upstream_hc_module: health_check.cc holds the directives, health_match.cc what is sent
// and expected, health_probe.cc connects.
namespace weir::stream {

struct HealthSettings {
  conf::Milliseconds timeout;
};

// One health_check line: a connection (or a datagram) to each peer of the server's upstream, made
// as those of its sessions are.
class StreamHealthCheck final : public upstream::HealthCheck {
 public:
  const Server* server = nullptr;
  bool datagram = false;
  std::shared_ptr<const HealthMatch> tests;  // null: none

  std::unique_ptr<upstream::Prober> make_prober(upstream::ProbeTarget target,
                                                upstream::ProbeListener& listener) const override;
  const ErrorLogTargets& log_targets(const Generation& generation) const override;
};

}  // namespace weir::stream
