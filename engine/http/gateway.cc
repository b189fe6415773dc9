#include "engine/http/gateway.h"

#include <algorithm>

#include "engine/http/framing.h"
#include "engine/http/gateway_run.h"
#include "engine/worker.h"

// The run of a plan as a whole. Its attempts stand in gateway_attempt.cc, how one asks in
// gateway_request.cc, what becomes of the answer in gateway_response.cc and gateway_relay.cc.
namespace weir::http {

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
    request_.set_activity("reading upstream");
    co_return finish_whole(std::move(exchange_->inbox));
  }
  co_return co_await relay();
}

PhaseResult GatewayRun::finish(int status) {
  end_attempt(upstream::Selection::Result::ok);
  drop_connection();
  request_.set_activity("sending to client");
  return PhaseResult::status(status);
}

}  // namespace weir::http
