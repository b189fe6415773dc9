#include <cerrno>

#include "engine/http/gateway_run.h"
#include "engine/upstream/queue.h"
#include "engine/worker.h"

// One attempt: its peer and connection, how it ends, and whether another follows.
namespace weir::http {
namespace {

// Attempts on the same peer, when that says it did not see the request.
constexpr uint8_t kRefusalLimit = 5;
// Connections that had no stream for it, before one is opened that it is the first to use.
constexpr uint8_t kLostLimit = 2;
// Kept connections that turn out to be closed, before only new ones are tried.
constexpr uint8_t kClosedLimit = 3;
constexpr int kClientClosed = 499;

bool is_non_idempotent(const Request& request) {
  const Method method = request.current().method;
  return method == Method::post || method == Method::lock || method == Method::patch;
}

}  // namespace

GatewayRun::Step GatewayRun::begin_attempt() {
  attempt_started_ = moved_at_ = worker_.loop.now();
  sent_ = received_ = 0;
  // Who comes later does not overtake those that wait.
  const bool others_wait =
      cluster_->queue.limit && worker_.upstreams.queue(*cluster_).waiting() > 0;
  const upstream::Selection::Peer* peer = others_wait ? nullptr : selection_->next();
  if (peer) return use_peer(*peer);
  if (!others_wait && !(cluster_->queue.limit && selection_->busy())) {
    return no_peer("no live upstreams");
  }
  Step step;
  step.kind = Step::Kind::wait;
  return step;
}

GatewayRun::Step GatewayRun::no_peer(std::string_view why) {
  request_.set_activity("connecting to upstream");
  exchange_ = nullptr;  // the attempt before this one has its own counts
  record_.begin(cluster_->host);
  log(Severity::error, why);
  return attempt_failed(NextUpstream::error, 502, true);
}

GatewayRun::Step GatewayRun::use_peer(const upstream::Selection::Peer& peer) {
  record_.begin(peer.text);
  request_.set_activity("connecting to upstream");
  peer_ = peer.address;
  return open_connection();
}

bool GatewayRun::keeps_connections() const {
  return cluster_->keepalive.enabled && settings_.bind.template_.empty();
}

GatewayRun::Step GatewayRun::open_connection() {
  exchange_ = request_.arena().make<UpstreamExchange>(request_.event(), request_.arena());
  cached_ = false;
  const bool kept = keeps_connections();
  if (kept && closed_ < kClosedLimit && lost_ < kLostLimit) {
    connection_ =
        static_cast<UpstreamConnection*>(worker_.upstreams.take(*cluster_, peer_, names_.key));
  }
  joined_ = connection_ != nullptr;
  if (!joined_) {
    const Step step = connect(kept);
    if (step.kind != Step::Kind::go_on) return step;
  }
  connection_->attach(*exchange_, plan_.make_codec,
                      static_cast<uint32_t>(settings_.buffer_size.value));
  cached_ = joined_ && exchange_->connected;
  return go_on();
}

GatewayRun::Step GatewayRun::connect(bool kept) {
  std::string problem;
  const net::ConnectOptions options = connect_options(request_, settings_, problem);
  if (!problem.empty()) log(Severity::error, problem);
  if (!worker_.has_room()) {
    log(Severity::alert,
        std::to_string(worker_.connection_limit) + " worker_connections are not enough");
    return finish_with(500);
  }
  auto opened = std::make_unique<UpstreamConnection>(worker_);
  opened->traits = names_.key;
  opened->shareable = plan_.multiplexed;
  if (plan_.tls && !add_tls(*opened, plan_, names_, peer_, problem)) {
    log(Severity::error, problem);
    return finish_with(500);
  }
  const net::ConnectResult result = opened->open(peer_, options);
  if (result.state == net::ConnectResult::State::failed) {
    log(Severity::alert, net::failure_text(result, peer_, options), result.error);
    return finish_with(500);
  }
  if (result.state == net::ConnectResult::State::refused) {
    log(result.error == ENOENT || result.error == EAGAIN ? Severity::crit : Severity::error,
        net::failure_text(result, peer_, options), result.error);
    return attempt_failed(NextUpstream::error, 502);
  }
  connection_ =
      static_cast<UpstreamConnection*>(&worker_.upstreams.add(*cluster_, std::move(opened), kept));
  return go_on();
}

void GatewayRun::update_counts() {
  if (record_.attempts.empty() || !exchange_) return;
  UpstreamAttempt& attempt = record_.attempts.back();
  attempt.bytes_sent = exchange_->bytes_sent;
  attempt.bytes_received = exchange_->bytes_received;
  attempt.response_length = accepted_ && exchange_->bytes_received > head_bytes_
                                ? exchange_->bytes_received - head_bytes_
                                : 0;
}

GatewayRun::Step GatewayRun::judge_failure() {
  if (exchange_->was_reset) {
    const Reset& reset = exchange_->reset;
    if (reset.cause == Reset::Cause::refused && plan_.multiplexed && can_replay() &&
        refusals_ < kRefusalLimit) {
      return not_processed();
    }
    // The codec's words say what was being done.
    request_.set_activity("");
    log(Severity::error, reset.reason);
    const bool malformed = reset.cause == Reset::Cause::malformed;
    return attempt_failed(malformed ? NextUpstream::invalid_header : NextUpstream::error, 502);
  }
  // Another request's connection, which ended before it was this one's turn.
  const bool failed = exchange_->failure != nullptr || exchange_->failed_call[0] != 0;
  if (plan_.multiplexed && joined_ && !exchange_->stream && !failed && refusals_ < kRefusalLimit) {
    return not_processed();
  }
  if (const net::LayerFailure* failure = exchange_->failure) {
    log(failure->severity, failure->text, failure->error_number);
  } else if (exchange_->failed_call[0]) {
    log(Severity::error, std::string(exchange_->failed_call) + " failed", exchange_->error);
  } else {
    log(Severity::error, "upstream prematurely closed connection");
  }
  return attempt_failed(NextUpstream::error, 502);
}

// The peer has not seen the request, or will not look at it (RFC 9113 section 8.7): it is sent
// again on another connection, whatever its method. Peers that do nothing else are left.
GatewayRun::Step GatewayRun::not_processed() {
  ++refusals_;
  if (!connection_->has_room()) ++lost_;
  drop_connection();
  return another_connection();
}

// The limit of streams turned out to be lower, or the connection is about to end.
GatewayRun::Step GatewayRun::no_stream() {
  if (exchange_->closed) return judge_failure();
  if (refusals_ < kRefusalLimit) return not_processed();
  log(Severity::error, "upstream takes no streams");
  return attempt_failed(NextUpstream::error, 502);
}

GatewayRun::Step GatewayRun::another_connection() {
  request_.set_activity("connecting to upstream");
  if (past_deadline()) return attempt_failed(NextUpstream::timeout, 504);
  Step step;
  step.kind = Step::Kind::again;
  return step;
}

bool GatewayRun::may_try_next(NextUpstream why) const {
  uint32_t condition = static_cast<uint32_t>(why);
  if (request_sent_ && is_non_idempotent(request_) && !(condition & kModuleConditions)) {
    condition |= static_cast<uint32_t>(NextUpstream::non_idempotent);
  }
  if (settings_.next_upstream.has(NextUpstream::off)) return false;
  if ((settings_.next_upstream.bits & condition) != condition) return false;
  if (request_sent_ && !can_replay()) return false;
  const auto limit = static_cast<uint64_t>(settings_.next_upstream_timeout.value);
  return !(limit && worker_.loop.now() - first_started_ >= limit);
}

// One more attempt, as far as `retry_budget` goes. Asked once for each.
bool GatewayRun::budget_allows() {
  if (retry_granted_) {
    retry_granted_ = false;
    return true;
  }
  const upstream::Selection::Retry answer = selection_->take_retry();
  if (answer == upstream::Selection::Retry::granted) return true;
  record_.retry_refused = true;
  if (answer == upstream::Selection::Retry::refused_first) {
    log(Severity::warn, "upstream retry budget is exhausted");
  }
  return false;
}

GatewayRun::Step GatewayRun::attempt_failed(NextUpstream why, int status, bool no_live_peer) {
  UpstreamAttempt& attempt = record_.attempts.back();
  if (request_.client_gone() && !settings_.ignore_client_abort) return client_left();
  attempt.status = status;
  const bool only_next = why == NextUpstream::http_403 || why == NextUpstream::http_404;
  // A peer may close a kept connection whenever it likes: that says nothing about it.
  const bool refused =
      exchange_ && exchange_->was_reset && exchange_->reset.cause == Reset::Cause::refused;
  const bool closed = cached_ && why == NextUpstream::error && !refused;
  if (closed) ++closed_;
  if (!no_live_peer) {
    end_attempt(only_next || closed ? upstream::Selection::Result::released
                                    : upstream::Selection::Result::failed);
    if (closed) selection_->give_try_back();
  } else {
    attempt.response_time = 0;
  }
  drop_connection();
  if (no_live_peer || selection_->tries_left() == 0 || !may_try_next(why)) {
    return finish_with(status);
  }
  if (!closed && !budget_allows()) return finish_with(status);
  head_bytes_ = 0;
  Step step;
  step.kind = Step::Kind::retry;
  return step;
}

void GatewayRun::end_attempt(upstream::Selection::Result result) {
  if (record_.attempts.empty()) return;
  UpstreamAttempt& attempt = record_.attempts.back();
  if (attempt.response_time < 0) {
    attempt.response_time = static_cast<int64_t>(worker_.loop.now() - attempt_started_);
  }
  update_counts();
  if (learning_) learn_session();
  if (selection_ && attempt.header_time >= 0) {
    selection_->note_times(static_cast<uint64_t>(attempt.header_time),
                           static_cast<uint64_t>(attempt.response_time));
  }
  if (selection_ && selection_->finish(result)) {
    log(Severity::warn, "upstream server temporarily disabled");
  }
  request_.set_activity("sending to client");
}

void GatewayRun::drop_connection() {
  if (!connection_) return;
  UpstreamConnection& connection = *connection_;
  connection_ = nullptr;
  // A stream is cancelled alone; with HTTP/1 that takes the connection.
  connection.release(*exchange_, plan_.multiplexed && keeps_connections() ? cluster_ : nullptr);
}

void GatewayRun::release_connection() {
  if (!connection_) return;
  const bool keep = plan_.multiplexed || (body_given_ && may_keep_);
  UpstreamConnection& connection = *connection_;
  connection_ = nullptr;
  connection.release(*exchange_, keep && keeps_connections() ? cluster_ : nullptr);
}

GatewayRun::Step GatewayRun::client_left() {
  log(Severity::info,
      connection_ ? "client prematurely closed connection, so upstream connection is closed too"
                  : "client prematurely closed connection");
  return finish_with(kClientClosed);
}

}  // namespace weir::http
