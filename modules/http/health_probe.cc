#include <cerrno>
#include <optional>

#include "engine/async/task.h"
#include "engine/http/connection_facts.h"
#include "engine/http/exchange.h"
#include "engine/http/framing.h"
#include "engine/http/gateway_connect.h"
#include "engine/http/upstream_record.h"
#include "engine/upstream/pool.h"
#include "engine/worker.h"
#include "modules/http/grpc_health.h"
#include "modules/http/health_check.h"

// One request after another to one peer: made by the location's plan, sent over a connection as
// that of its requests, judged by its match block.
namespace weir::http {
namespace {

using upstream::ProbeResult;

// Of an answer's body, what is looked at.
constexpr size_t kBodyLimit = 256 * 1024;
constexpr int kServing = 1;

class HttpProber final : public upstream::Prober {
 public:
  HttpProber(upstream::ProbeTarget target, upstream::ProbeListener& listener,
             const HttpHealthCheck& check);
  ~HttpProber() override { task_ = Task<void>(); }
  void begin() override;

 private:
  // `stale`: the connection was kept from the check before, and the peer had closed it.
  enum class Step : uint8_t { go_on, failed, unknown, stale };

  Task<void> run();
  Task<Step> ask();
  bool make_request();
  void fill_received(MessageHead& head);
  void make_head();
  Step open_connection();
  Task<Step> connect();
  Task<Step> read_head();
  Task<Step> read_body();
  Step lost();
  Step timed_out();
  Step note_head();
  Step judge_head();
  Step judge_body();
  Step judge_grpc();
  Step unexpected(const char* activity, const std::string& what);
  bool wants_body() const {
    return check_.grpc || keeps() || (check_.tests && check_.tests->wants_body());
  }
  bool keeps() const { return check_.keepalive_milliseconds > 0; }
  void drop_connection(bool keep);
  uint64_t time_left(const conf::Milliseconds& limit);
  UpstreamAttempt& attempt() { return record_->attempts.back(); }
  int64_t age() { return static_cast<int64_t>(worker().loop.now() - started_); }

  const HttpHealthCheck& check_;
  Listener listener_;  // stands for the one a client would have come to
  ConnectionFacts facts_;
  upstream::Cluster kept_;  // how long connections are kept
  upstream::Pool pool_;

  // Of the check under way, or the last one.
  std::optional<Exchange> request_;
  GatewayPlan* plan_ = nullptr;
  UpstreamRecord* record_ = nullptr;
  UpstreamConnection* connection_ = nullptr;
  UpstreamExchange* exchange_ = nullptr;
  MessageHead head_;
  std::string request_body_;
  std::string body_;
  bool reused_ = false;
  uint64_t started_ = 0;
  uint64_t moved_ = 0;
  uint64_t moved_at_ = 0;
  Task<void> task_;
};

HttpProber::HttpProber(upstream::ProbeTarget target, upstream::ProbeListener& listener,
                       const HttpHealthCheck& check)
    : Prober(std::move(target), listener), check_(check), pool_(worker().loop) {
  listener_.default_server = check_.location->server;
  kept_.keepalive.connections = 1;
  kept_.keepalive.requests = UINT32_MAX;
  kept_.keepalive.time_milliseconds = check_.keepalive_milliseconds;
  kept_.keepalive.timeout_milliseconds = 0;
}

void HttpProber::begin() {
  task_ = Task<void>();
  task_ = run();
  task_.start();
}

Task<void> HttpProber::run() {
  Step step = co_await ask();
  if (step == Step::stale) {
    pool_.clear_idle();
    step = co_await ask();
  }
  drop_connection(step == Step::go_on && keeps());
  body_ = std::string();
  finish(step == Step::go_on    ? ProbeResult::passed
         : step == Step::failed ? ProbeResult::failed
                                : ProbeResult::unknown);
}

Task<HttpProber::Step> HttpProber::ask() {
  started_ = moved_at_ = worker().loop.now();
  moved_ = 0;
  if (!make_request()) co_return Step::unknown;
  Step step = open_connection();
  if (step == Step::go_on) step = co_await connect();
  if (step == Step::go_on) step = co_await read_head();
  if (step == Step::go_on) step = note_head();
  if (step == Step::go_on && wants_body()) step = co_await read_body();
  if (step == Step::go_on) step = check_.grpc ? judge_grpc() : judge_body();
  co_return step;
}

// --- the request

// As a client would have sent it.
void HttpProber::fill_received(MessageHead& head) {
  Arena& arena = request_->arena();
  head.method = check_.grpc ? Method::post : Method::get;
  head.method_text = check_.grpc ? "POST" : "GET";
  head.target = check_.uri;
  head.protocol = "HTTP/1.1";
  ArenaText line(arena);
  line.append(head.method_text);
  line.push_back(' ');
  line.append(check_.uri);
  line.append(" HTTP/1.1");
  head.request_line = line.view();
  if (!check_.grpc) return;
  head.headers.add(arena, Header{"Content-Type", "application/grpc", HeaderId::content_type});
  head.headers.add(arena, Header{"TE", "trailers", HeaderId::te});
}

bool HttpProber::make_request() {
  drop_connection(false);
  request_.reset();
  request_.emplace(worker(), facts_, target().generation, listener_);
  Arena& arena = request_->arena();
  auto* received = arena.make<MessageHead>();
  fill_received(*received);
  request_->begin_own(*received, *check_.location);
  Request& request = request_->main();
  record_ = arena.make<UpstreamRecord>();
  request.upstream_record = record_;
  record_->begin(target().peer);
  plan_ = check_.make_plan(request);
  if (!plan_) return false;
  plan_->uri = check_.uri;
  record_->scheme = plan_->scheme;
  record_->uri = plan_->uri;
  make_head();
  return true;
}

void HttpProber::make_head() {
  Request& request = request_->main();
  request_body_ = check_.grpc ? grpc_health_request(check_.grpc_service) : std::string();
  BodyLength length;
  if (check_.grpc) length = BodyLength{BodyLength::Kind::exact, request_body_.size()};
  head_ = MessageHead();
  head_.body = length;
  plan_->make_head(request, length, head_);
  if (keeps() || plan_->multiplexed) return;
  head_.headers.remove(HeaderId::connection);
  head_.headers.add(request.arena(), Header{"Connection", "close", HeaderId::connection});
}

// --- the connection

HttpProber::Step HttpProber::open_connection() {
  set_activity("connecting to upstream");
  Request& request = request_->main();
  const ConnectionNames names = name_connection(request, *plan_);
  exchange_ = request.arena().make<UpstreamExchange>(request.event(), request.arena());
  connection_ =
      static_cast<UpstreamConnection*>(pool_.take(kept_.keepalive, target().address, names.key));
  reused_ = connection_ != nullptr;
  const auto head_limit = static_cast<uint32_t>(plan_->settings->buffer_size.value);
  if (reused_) {
    connection_->attach(*exchange_, plan_->make_codec, head_limit);
    return Step::go_on;
  }
  std::string problem;
  const net::ConnectOptions options = connect_options(request, *plan_->settings, problem);
  if (!problem.empty()) log(Severity::error, problem);
  if (!worker().has_room()) {
    log(Severity::alert,
        std::to_string(worker().connection_limit) + " worker_connections are not enough");
    return Step::unknown;
  }
  auto opened = std::make_unique<UpstreamConnection>(worker());
  opened->traits = names.key;
  opened->shareable = plan_->multiplexed;
  if (plan_->tls && !add_tls(*opened, *plan_, names, target().address, problem)) {
    log(Severity::error, problem);
    return Step::unknown;
  }
  const net::ConnectResult result = opened->open(target().address, options);
  if (result.state == net::ConnectResult::State::failed) {
    log(Severity::alert, net::failure_text(result, target().address, options), result.error);
    return Step::unknown;
  }
  if (result.state == net::ConnectResult::State::refused) {
    log(Severity::error, net::failure_text(result, target().address, options), result.error);
    return Step::failed;
  }
  connection_ = static_cast<UpstreamConnection*>(&pool_.add(std::move(opened)));
  connection_->attach(*exchange_, plan_->make_codec, head_limit);
  return Step::go_on;
}

void HttpProber::drop_connection(bool keep) {
  if (!connection_) return;
  connection_->release(*exchange_, keep ? &kept_ : nullptr);
  connection_ = nullptr;
}

uint64_t HttpProber::time_left(const conf::Milliseconds& limit) {
  const uint64_t moved = exchange_->bytes_sent + exchange_->bytes_received;
  const uint64_t now = worker().loop.now();
  if (moved != moved_) {
    moved_ = moved;
    moved_at_ = now;
  }
  const uint64_t end = moved_at_ + static_cast<uint64_t>(limit.value);
  return end > now ? end - now : 0;
}

HttpProber::Step HttpProber::timed_out() {
  log(Severity::error, "upstream timed out", ETIMEDOUT);
  return Step::failed;
}

// The connection is of no use any more.
HttpProber::Step HttpProber::lost() {
  // A peer may close a connection that nothing happens on.
  if (reused_ && exchange_->bytes_received == 0) return Step::stale;
  if (exchange_->was_reset) {
    // The codec's words say what was being done.
    const char* reason = exchange_->reset.reason;
    log_whole(Severity::error, *reason ? reason : "upstream reset stream");
  } else if (const net::LayerFailure* failure = exchange_->failure) {
    log(failure->severity, failure->text, failure->error_number);
  } else if (exchange_->failed_call[0]) {
    log(Severity::error, std::string(exchange_->failed_call) + " failed", exchange_->error);
  } else {
    log(Severity::error, "upstream prematurely closed connection");
  }
  return Step::failed;
}

Task<HttpProber::Step> HttpProber::connect() {
  Event& event = request_->main().event();
  while (!exchange_->connected) {
    if (exchange_->handshaking) set_activity("SSL handshaking to upstream");
    if (exchange_->closed) co_return lost();
    const uint64_t left = time_left(plan_->settings->connect_timeout);
    if (!left) co_return timed_out();
    const Wait waited = co_await event.wait(left);
    if (waited == Wait::cancelled) co_return Step::unknown;
  }
  attempt().connect_time = age();
  moved_at_ = worker().loop.now();
  set_activity("sending request to upstream");
  if (!connection_->start(*exchange_, head_, request_body_.empty())) {
    if (reused_) co_return Step::stale;
    log(Severity::error, "upstream refused the request");
    co_return Step::failed;
  }
  // It may have answered already, and nothing tells that again.
  if (!reused_) connection_->read_later();
  if (request_body_.empty()) co_return Step::go_on;
  Chain body;
  body.push(Slice::copy_of(request_body_));
  connection_->send(*exchange_, std::move(body), true);
  co_return Step::go_on;
}

// --- the answer

Task<HttpProber::Step> HttpProber::read_head() {
  Event& event = request_->main().event();
  for (;;) {
    connection_->flush(*exchange_);
    exchange_->interim.clear();
    if (exchange_->head) co_return Step::go_on;
    if (exchange_->was_reset || exchange_->closed) co_return lost();
    const bool sending = connection_->unsent(*exchange_) > 0;
    if (!sending) set_activity("reading response header from upstream");
    const uint64_t left =
        time_left(sending ? plan_->settings->send_timeout : plan_->settings->read_timeout);
    if (!left) co_return timed_out();
    const Wait waited = co_await event.wait(left);
    if (waited == Wait::cancelled) co_return Step::unknown;
  }
}

HttpProber::Step HttpProber::note_head() {
  const MessageHead& answer = *exchange_->head;
  attempt().header_time = age();
  attempt().status = answer.status;
  record_->headers = &answer.headers;
  return check_.grpc ? Step::go_on : judge_head();
}

Task<HttpProber::Step> HttpProber::read_body() {
  set_activity("reading upstream");
  body_.clear();
  Event& event = request_->main().event();
  for (;;) {
    while (!exchange_->inbox.empty()) {
      const Slice slice = exchange_->inbox.take_front();
      body_.append(slice.view().substr(0, kBodyLimit - body_.size()));
      connection_->consumed(*exchange_, slice.size());
    }
    if (exchange_->ended || body_.size() == kBodyLimit) co_return Step::go_on;
    if (exchange_->was_reset) co_return lost();
    if (connection_->read_some(*exchange_)) continue;
    if (!exchange_->inbox.empty() || exchange_->ended || exchange_->was_reset) continue;
    if (exchange_->closed) co_return lost();
    const uint64_t left = time_left(plan_->settings->read_timeout);
    if (!left) co_return timed_out();
    const Wait waited = co_await event.wait(left);
    if (waited == Wait::cancelled) co_return Step::unknown;
  }
}

// --- judgement

HttpProber::Step HttpProber::unexpected(const char* activity, const std::string& what) {
  set_activity(activity);
  log(Severity::info, what);
  return Step::failed;
}

HttpProber::Step HttpProber::judge_head() {
  const MessageHead& answer = *exchange_->head;
  const bool status_fits = check_.tests ? check_.tests->takes_status(answer.status)
                                        : answer.status >= 200 && answer.status < 400;
  if (!status_fits) {
    return unexpected("checking status code", "unexpected status " + std::to_string(answer.status));
  }
  if (check_.tests && !check_.tests->takes_headers(answer.headers)) {
    return unexpected("checking header", "unexpected header");
  }
  return Step::go_on;
}

HttpProber::Step HttpProber::judge_body() {
  attempt().response_time = age();
  attempt().bytes_received = exchange_->bytes_received;
  attempt().bytes_sent = exchange_->bytes_sent;
  attempt().response_length = body_.size();
  record_->trailers = exchange_->trailers;
  set_activity("checking status code");
  if (!check_.tests) return Step::go_on;
  if (check_.tests->wants_body()) {
    if (!check_.tests->takes_body(body_)) return unexpected("checking body", "unexpected body");
    set_activity("checking body");
  }
  if (!check_.tests->takes_variables(request_->main())) {
    return unexpected("checking variables", "required variable is empty");
  }
  return Step::go_on;
}

HttpProber::Step HttpProber::judge_grpc() {
  const MessageHead& answer = *exchange_->head;
  constexpr const char* kActivity = "checking gRPC status";
  if (answer.status != 200) {
    return unexpected(kActivity, "unexpected status " + std::to_string(answer.status));
  }
  const Header* field = exchange_->trailers ? exchange_->trailers->find("grpc-status") : nullptr;
  if (!field) field = answer.headers.find("grpc-status");
  const auto status = field ? conf::parse_number(field->value) : std::nullopt;
  if (!status) return unexpected(kActivity, "no gRPC status");
  set_activity(kActivity);
  if (*status != 0) {
    if (check_.grpc_status == *status) return Step::go_on;
    return unexpected(kActivity, "unexpected gRPC status " + std::to_string(*status));
  }
  const int serving = grpc_serving_status(body_);
  if (serving == kServing) return Step::go_on;
  return unexpected(kActivity, "unexpected gRPC serving status " + std::to_string(serving));
}

}  // namespace

std::unique_ptr<upstream::Prober> HttpHealthCheck::make_prober(
    upstream::ProbeTarget target, upstream::ProbeListener& listener) const {
  return std::make_unique<HttpProber>(std::move(target), listener, *this);
}

}  // namespace weir::http
