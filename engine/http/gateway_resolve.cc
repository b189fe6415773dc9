#include "engine/http/core_settings.h"
#include "engine/http/gateway_run.h"
#include "engine/upstream/resolver.h"
#include "engine/worker.h"

// Where a request goes whose upstream is written in variables.
namespace weir::http {

void GatewayRun::use_addresses(std::vector<net::Address> addresses) {
  resolved_ = std::make_unique<upstream::Cluster>();
  resolved_->host = plan_.resolve_host;
  resolved_->name = resolved_->host + ":" + std::to_string(plan_.resolve_port);
  resolved_->implied = true;
  // As nginx: such connections are not kept.
  resolved_->keepalive.enabled = false;
  upstream::Server server;
  server.name = resolved_->host;
  server.addresses = std::move(addresses);
  resolved_->servers.push_back(std::move(server));
  cluster_ = resolved_.get();
}

Task<int> GatewayRun::resolve() {
  if (!plan_.literal.empty()) {
    use_addresses(std::vector<net::Address>(1, plan_.literal));
    co_return 0;
  }
  const auto& core = request_.settings<CoreSettings>();
  const std::string host(plan_.resolve_host);
  if (core.resolver.empty() || core.resolver[0] == "off") {
    log(Severity::error, "no resolver defined to resolve " + host);
    co_return 502;
  }
  upstream::Resolver::Question question(request_.event());
  worker_.upstreams.resolver(core.resolver).ask(question, host);
  const uint64_t end = worker_.loop.now() + static_cast<uint64_t>(core.resolver_timeout.value);
  int error = 0;
  while (!question.done()) {
    if (request_.client_gone() && !settings_.ignore_client_abort) co_return client_left().status;
    const uint64_t now = worker_.loop.now();
    if (now >= end) {
      error = upstream::Resolver::kTimedOut;
      break;
    }
    const Wait wait = co_await request_.event().wait(end - now);
    if (wait == Wait::cancelled) co_return 499;
  }
  if (!error) error = question.answer().error;
  if (error) {
    log(Severity::error, host + " could not be resolved (" + std::to_string(error) + ": " +
                             upstream::Resolver::error_text(error) + ")");
    co_return 502;
  }
  std::vector<net::Address> addresses = question.answer().addresses;
  for (net::Address& address : addresses) address.set_port(plan_.resolve_port);
  use_addresses(std::move(addresses));
  co_return 0;
}

}  // namespace weir::http
