#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/http/gateway.h"
#include "engine/http/graph.h"
#include "engine/upstream/health.h"
#include "modules/http/health_match.h"

// ngx_http_upstream_hc_module: health_check.cc holds the directives, health_match.cc what answers
// have to be, health_probe.cc asks.
namespace weir::http {

// One health_check line: a request to each peer of the location's upstream, made and sent as the
// location's own requests are.
class HttpHealthCheck final : public upstream::HealthCheck {
 public:
  const Location* location = nullptr;
  // Of the handler that passes the location's requests on.
  GatewayPlan* (*make_plan)(Request&) = nullptr;
  std::string uri = "/";
  bool uri_given = false;
  uint64_t keepalive_milliseconds = 0;       // 0: each check has its own connection
  std::shared_ptr<const HealthMatch> tests;  // null: the status has to be 2xx or 3xx
  // type=grpc: the health checking protocol of gRPC, version 1.
  bool grpc = false;
  std::string grpc_service;
  int grpc_status = 0;  // also healthy, besides SERVING

  std::unique_ptr<upstream::Prober> make_prober(upstream::ProbeTarget target,
                                                upstream::ProbeListener& listener) const override;
  const ErrorLogTargets& log_targets(const Generation& generation) const override;
};

}  // namespace weir::http
