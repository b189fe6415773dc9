#include <algorithm>

#include "engine/http/gateway_run.h"
#include "engine/upstream/queue.h"
#include "engine/worker.h"

// Requests that wait for a server with room (`queue`).
namespace weir::http {

Task<GatewayRun::Step> GatewayRun::wait_in_queue() {
  const upstream::QueuePolicy& policy = cluster_->queue;
  upstream::Queue& queue = worker_.upstreams.queue(*cluster_);
  if (queue.waiting() >= policy.limit) co_return no_peer("upstream queue is full");
  request_.set_activity("waiting in upstream queue");
  const bool is_first_attempt = exchange_ == nullptr;
  const uint64_t began = worker_.loop.now();
  const uint64_t end = began + policy.timeout_milliseconds;
  const upstream::Selection::Peer* peer = nullptr;
  {
    upstream::Queue::Place place(queue, request_.event());
    while (!peer) {
      if (request_.client_gone() && !settings_.ignore_client_abort) co_return client_left();
      if (place.called()) {
        peer = selection_->next();
        if (peer) break;
        if (!selection_->busy()) co_return no_peer("no live upstreams");
        // What this one has tried already may still do for others.
        place.wait_again(!is_first_attempt);
      }
      const uint64_t now = worker_.loop.now();
      if (now >= end || past_deadline()) co_return no_peer("upstream queue timed out");
      const Wait waited = co_await request_.event().wait(until_deadline(end - now));
      if (waited == Wait::cancelled) co_return client_left();
    }
  }
  attempt_started_ = moved_at_ = worker_.loop.now();
  const Step step = use_peer(*peer);
  record_.attempts.back().queue_time = static_cast<int64_t>(attempt_started_ - began);
  co_return step;
}

}  // namespace weir::http
