#include "engine/http/gateway.h"

#include <algorithm>
#include <cerrno>

#include "engine/http/framing.h"
#include "engine/http/gateway_run.h"
#include "engine/http/graph.h"
#include "engine/upstream/queue.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr size_t kUnsentLimit = 2 * Block::kBlockSize;
// A streamed body no longer than this is kept until the response begins: a peer that did not
// process the request, or failed where the configuration allows another try, loses nothing.
constexpr size_t kReplayLimit = 2 * Block::kBlockSize;
// Slices below this are copied rather than their block held.
constexpr size_t kSmallSlice = 4096;
// Another connection to the same peer, when that says it did not see the request.
constexpr uint8_t kRefusalLimit = 5;
constexpr int kClientClosed = 499;

bool is_non_idempotent(const Request& request) {
  const Method method = request.current().method;
  return method == Method::post || method == Method::lock || method == Method::patch;
}

}  // namespace

void HeaderNameSet::add(std::string_view name) {
  const HeaderId id = find_header_id(name);
  if (id != HeaderId::other) {
    known_ |= uint64_t{1} << static_cast<unsigned>(id);
    return;
  }
  std::string lower = conf::lower_case(name);
  const auto at = std::lower_bound(others_.begin(), others_.end(), lower);
  if (at == others_.end() || *at != lower) others_.insert(at, std::move(lower));
}

void HeaderNameSet::remove(std::string_view name) {
  const HeaderId id = find_header_id(name);
  if (id != HeaderId::other) {
    known_ &= ~(uint64_t{1} << static_cast<unsigned>(id));
    return;
  }
  std::erase(others_, conf::lower_case(name));
}

bool HeaderNameSet::contains(const Header& header) const {
  if (header.id != HeaderId::other) return known_ >> static_cast<unsigned>(header.id) & 1;
  for (const std::string& name : others_) {
    if (name.size() == header.name.size() && conf::equal_without_case(name, header.name))
      return true;
  }
  return false;
}

NextUpstream GatewayPlan::judge_head(Request&, const MessageHead&) {
  return NextUpstream::none;
}

void GatewayPlan::finish_head(Request&) {}

void GatewayPlan::take_trailers(Request&, HeaderList&) {}

bool GatewayPlan::end_broken(Request&, int) {
  return false;
}

PhaseResult start_gateway(Request& request, GatewayPlan& plan) {
  auto* run = request.arena().make<GatewayRun>(request, plan);
  return PhaseResult::pending(run->run());
}

GatewayRun::GatewayRun(Request& request, GatewayPlan& plan)
    : request_(request),
      plan_(plan),
      settings_(*plan.settings),
      worker_(request.worker()),
      record_(request.upstream_record ? *request.upstream_record
                                      : *request.arena().make<UpstreamRecord>()),
      cluster_(plan.cluster) {
  request.upstream_record = &record_;
  record_.mark_redirect();
  record_.scheme = plan.scheme;
  record_.uri = plan.uri;
}

void GatewayRun::log(Severity severity, std::string_view text, int error) {
  if (!request_.logs(severity)) return;
  request_.log_upstream = request_.arena().copy(record_.url());
  request_.log(severity, text, error);
}

bool GatewayRun::waits_for_body() const {
  return request_.is_main() &&
         (request_.body().present() || request_.headers().find(HeaderId::content_length) ||
          request_.received().expect_continue);
}

Task<int> GatewayRun::prepare_body() {
  RequestBody& body = request_.body();
  const bool replayable =
      settings_.request_buffering || body.is_kept() || plan_.has_own_body ||
      !settings_.pass_request_body || body.came_whole() ||
      (body.length().kind == BodyLength::Kind::chunked && !plan_.can_stream_unknown_length);
  if (!replayable) {
    body.begin_streaming(request_);
    streaming_ = true;
    co_return body.error();  // what has come may be too much already
  }
  const int status = co_await body.read_all(request_);
  if (status) co_return status;
  if (settings_.pass_request_body && !plan_.has_own_body) body_ = body.stored();
  co_return 0;
}

void GatewayRun::make_request() {
  BodyLength length;
  const RequestBody& body = request_.body();
  if (plan_.has_own_body) {
    const std::string_view own = plan_.own_body(request_);
    body_.clear();
    if (!own.empty()) body_.push(Slice::borrowed(own));
    length = BodyLength{BodyLength::Kind::exact, own.size()};
  } else if (streaming_) {
    length = body.length();
  } else if (!body_.empty() || (request_.is_main() && settings_.pass_request_body &&
                                (body.length().kind != BodyLength::Kind::none ||
                                 request_.headers().find(HeaderId::content_length)))) {
    length = BodyLength{BodyLength::Kind::exact, body_.bytes()};
  }
  head_.body = length;
  plan_.make_head(request_, length, head_);
  // RFC 9110 section 7.8: what only the configuration asks for is not switched to.
  const bool asks = head_.headers.find(HeaderId::upgrade) != nullptr;
  head_.upgrade =
      asks && request_.is_main() && request_.headers().find(HeaderId::upgrade) != nullptr;
  const Header* connection = head_.headers.find(HeaderId::connection);
  // A refused upgrade with a body: what the peer did with the body is not sure.
  may_keep_ = !(connection && has_token(connection->value, "close")) &&
              !(asks && length.kind != BodyLength::Kind::none);
}

Task<PhaseResult> GatewayRun::run() {
  if (waits_for_body()) {
    const int status = co_await prepare_body();
    if (status) co_return PhaseResult::status(status);
  } else if (!request_.is_main() && settings_.pass_request_body && !plan_.has_own_body) {
    // A subrequest sends the body only when it has been read already.
    body_ = request_.body().stored();
  }
  if (!cluster_) {
    const int status = co_await resolve();
    if (status) co_return finish(status);
  }
  make_request();
  names_ = name_connection(request_, plan_);
  first_started_ = worker_.loop.now();
  upstream::Subject subject;
  subject.variables = &request_;
  subject.client = &request_.client();
  if (cluster_->sticky) find_binding(subject);
  selection_ = resolved_ ? worker_.upstreams.select_once(*cluster_)
                         : worker_.upstreams.select(*cluster_, subject);
  if (settings_.next_upstream_tries.value > 0) {
    selection_->limit_tries(static_cast<uint32_t>(settings_.next_upstream_tries.value));
  }
  bool again = false;
  for (;;) {
    Step step = again ? open_connection() : begin_attempt();
    if (step.kind == Step::Kind::wait) step = co_await wait_in_queue();
    if (step.kind == Step::Kind::go_on) step = co_await exchange_heads();
    if (step.kind == Step::Kind::go_on) step = judge_status();
    again = step.kind == Step::Kind::again;
    if (again || step.kind == Step::Kind::retry) continue;
    if (step.kind == Step::Kind::finish) co_return finish(step.status);
    break;
  }
  judged_ = true;
  replay_.clear();
  if (exchange_->upgraded && request_.is_bridged()) co_return co_await bridge();
  if (exchange_->upgraded) co_return begin_tunnel();
  const Header* redirect = exchange_->head->headers.find(HeaderId::x_accel_redirect);
  if (redirect && !settings_.ignore_headers.has(IgnoredHeader::accel_redirect)) {
    co_return accel_redirect(redirect->value);
  }
  take_head();
  accepted_ = request_.send_head();
  if (!accepted_) {
    // No body goes to the client. What the peer still sends is not waited for.
    const int status = exchange_->head->status;
    if (request_.is_main() && request_.current().method != Method::head &&
        (status == 204 || status == 304)) {
      request_.set_activity("reading upstream");
      note_surplus();
    }
    end_attempt(upstream::Selection::Result::ok);
    release_connection();
    co_return PhaseResult::done();
  }
  if (exchange_->ended && (body_given_ || plan_.multiplexed)) {
    // The whole answer came at once: head and body leave together.
    Chain data = std::move(exchange_->inbox);
    request_.set_activity("reading upstream");
    note_surplus();
    take_trailers();
    end_attempt(upstream::Selection::Result::ok);
    release_connection();
    request_.send(std::move(data), true);
    co_return PhaseResult::done();
  }
  co_return co_await relay();
}

GatewayRun::Step GatewayRun::begin_attempt() {
  attempt_started_ = moved_at_ = worker_.loop.now();
  moved_ = 0;
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
  if (kept) {
    connection_ =
        static_cast<UpstreamConnection*>(worker_.upstreams.take(*cluster_, peer_, names_.key));
  }
  const bool taken = connection_ != nullptr;
  if (!taken) {
    const Step step = connect(kept);
    if (step.kind != Step::Kind::go_on) return step;
  }
  connection_->attach(*exchange_, plan_.make_codec,
                      static_cast<uint32_t>(settings_.buffer_size.value));
  cached_ = taken && exchange_->connected;
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
  if (plan_.tls) add_tls(*opened, plan_, names_, peer_);
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

uint64_t GatewayRun::time_left(int64_t limit) {
  const uint64_t moved = exchange_->bytes_sent + exchange_->bytes_received;
  const uint64_t now = worker_.loop.now();
  if (moved != moved_) {
    moved_ = moved;
    moved_at_ = now;
  }
  const uint64_t end = moved_at_ + static_cast<uint64_t>(limit);
  return end > now ? end - now : 0;
}

bool GatewayRun::past_deadline() const {
  return plan_.deadline && worker_.loop.now() >= plan_.deadline;
}

uint64_t GatewayRun::until_deadline(uint64_t milliseconds) const {
  if (!plan_.deadline) return milliseconds;
  const uint64_t now = worker_.loop.now();
  const uint64_t left = plan_.deadline > now ? plan_.deadline - now : 1;
  return milliseconds ? std::min(milliseconds, left) : left;
}

bool GatewayRun::send_request_head() {
  record_.attempts.back().connect_time =
      static_cast<int64_t>(worker_.loop.now() - attempt_started_);
  moved_at_ = worker_.loop.now();
  request_.set_activity("sending request to upstream");
  body_given_ = head_.body.kind == BodyLength::Kind::none ||
                (head_.body.kind == BodyLength::Kind::exact && head_.body.bytes == 0);
  if (!connection_->start(*exchange_, head_, body_given_)) return false;
  // It may have answered already, and nothing tells that again.
  if (!cached_) connection_->read_later();
  request_sent_ = true;
  resend_ = replay_;
  return true;
}

int GatewayRun::send_body() {
  if (!body_given_) {
    if (streaming_) {
      const int status = send_streamed();
      if (status) return status;
    } else {
      connection_->send(*exchange_, Chain(body_), true);
      body_given_ = true;
    }
  }
  if (connection_->flush(*exchange_) && body_owed_) {
    request_.body().consumed(body_owed_);
    body_owed_ = 0;
  }
  return 0;
}

int GatewayRun::send_streamed() {
  RequestBody& body = request_.body();
  if (body.error()) return body.error();
  // The peer takes no more, or has answered: the rest of the client's body is not asked for.
  if (exchange_->write_failed || (plan_.multiplexed && exchange_->ended)) return 0;
  if (connection_->unsent(*exchange_) >= kUnsentLimit) return 0;
  if (resend_.empty() && body.arrived().empty() && !body.ended()) return 0;
  Chain data = std::move(resend_);
  resend_.clear();
  const size_t known = data.bytes();
  Chain fresh = std::move(body.arrived());
  body.arrived().clear();
  keep_for_replay(fresh);
  data.append(std::move(fresh));
  body_owed_ += data.bytes() - known;
  body_given_ = body.ended();
  const bool trailers = body_given_ && plan_.pass_request_trailers && !body.trailers().empty();
  connection_->send(*exchange_, std::move(data), body_given_ && !trailers);
  if (trailers) connection_->send_trailers(*exchange_, body.trailers());
  return 0;
}

void GatewayRun::keep_for_replay(const Chain& data) {
  if (!plan_.multiplexed || replay_lost_ || judged_ || data.empty()) return;
  if (replay_.bytes() + data.bytes() > kReplayLimit) {
    replay_lost_ = true;
    replay_.clear();
    return;
  }
  for (size_t i = 0; i < data.count(); ++i) {
    const Slice& slice = data[i];
    if (slice.is_file() || slice.size() >= kSmallSlice) {
      replay_.push(slice);
    } else {
      replay_.push(Slice::borrowed(request_.arena().copy(slice.view())));
    }
  }
}

void GatewayRun::pass_interim() {
  if (exchange_->interim.empty()) return;
  for (const MessageHead* head : exchange_->interim) {
    head_bytes_ += head->bytes;
    if (head->status != 103 || !request_.is_main() || request_.response().head_sent) continue;
    const auto& hints = request_.settings<CoreSettings>().early_hints;
    bool wanted = false;
    for (const conf::Template& hint : hints) {
      const std::string_view value = hint.evaluate(request_);
      wanted |= !value.empty() && value != "0";
    }
    if (!wanted) continue;
    HeaderList passed;
    for (const Header& header : head->headers) {
      if (settings_.hidden.contains(header)) continue;
      if (header.id == HeaderId::connection || header.id == HeaderId::keep_alive ||
          header.id == HeaderId::transfer_encoding || header.id == HeaderId::content_length) {
        continue;
      }
      passed.add(request_.arena(), header);
    }
    request_.send_interim(103, passed);
  }
  exchange_->interim.clear();
}

Task<GatewayRun::Step> GatewayRun::exchange_heads() {
  while (!exchange_->connected) {
    if (request_.client_gone() && !settings_.ignore_client_abort) co_return client_left();
    if (exchange_->handshaking) request_.set_activity("SSL handshaking to upstream");
    if (exchange_->closed) co_return judge_failure();
    const uint64_t left = time_left(settings_.connect_timeout.value);
    if (!left || past_deadline()) {
      log(Severity::error, "upstream timed out", ETIMEDOUT);
      co_return attempt_failed(NextUpstream::timeout, 504);
    }
    const Wait wait = co_await request_.event().wait(until_deadline(left));
    if (wait == Wait::cancelled) co_return client_left();
  }
  if (!send_request_head()) {
    drop_connection();
    co_return another_connection();
  }
  for (;;) {
    if (request_.client_gone() && !settings_.ignore_client_abort) co_return client_left();
    const int body_status = send_body();
    if (body_status) co_return finish_with(body_status);
    pass_interim();
    if (exchange_->head) break;
    if (exchange_->was_reset || exchange_->closed) co_return judge_failure();
    const bool sending = connection_->unsent(*exchange_) > 0;
    if (!sending && body_given_) request_.set_activity("reading response header from upstream");
    uint64_t left = 0;
    if (sending || body_given_) {
      left = time_left(sending ? settings_.send_timeout.value : settings_.read_timeout.value);
    }
    if (past_deadline() || ((sending || body_given_) && !left)) {
      log(Severity::error, "upstream timed out", ETIMEDOUT);
      co_return attempt_failed(NextUpstream::timeout, 504);
    }
    const Wait wait = co_await request_.event().wait(until_deadline(left));
    if (wait == Wait::cancelled) co_return client_left();
  }
  UpstreamAttempt& attempt = record_.attempts.back();
  attempt.header_time = static_cast<int64_t>(worker_.loop.now() - attempt_started_);
  attempt.status = exchange_->head->status;
  head_bytes_ += exchange_->head->bytes;
  record_.headers = &exchange_->head->headers;
  co_return go_on();
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
  drop_connection();
  return another_connection();
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

GatewayRun::Step GatewayRun::attempt_failed(NextUpstream why, int status, bool no_live_peer) {
  UpstreamAttempt& attempt = record_.attempts.back();
  if (request_.client_gone() && !settings_.ignore_client_abort) return client_left();
  attempt.status = status;
  const bool only_next = why == NextUpstream::http_403 || why == NextUpstream::http_404;
  if (!no_live_peer) {
    end_attempt(only_next ? upstream::Selection::Result::released
                          : upstream::Selection::Result::failed);
    if (cached_ && why == NextUpstream::error) selection_->give_try_back();
  } else {
    attempt.response_time = 0;
  }
  drop_connection();
  if (no_live_peer || selection_->tries_left() == 0 || !may_try_next(why)) {
    return finish_with(status);
  }
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

PhaseResult GatewayRun::finish(int status) {
  end_attempt(upstream::Selection::Result::ok);
  drop_connection();
  request_.set_activity("sending to client");
  return PhaseResult::status(status);
}

}  // namespace weir::http
