#include <algorithm>
#include <cerrno>

#include "engine/http/gateway_run.h"
#include "engine/worker.h"

// How an attempt asks: the request's head and body go to the peer until the head of its answer
// comes.
namespace weir::http {
namespace {

constexpr size_t kUnsentLimit = 2 * Block::kBlockSize;
// A streamed body no longer than this is kept until the response begins: a peer that did not
// process the request, or failed where the configuration allows another try, loses nothing.
constexpr size_t kReplayLimit = 2 * Block::kBlockSize;
// Slices below this are copied rather than their block held.
constexpr size_t kSmallSlice = 4096;
// Of a body that a window holds back, in each proxy_send_timeout.
constexpr uint64_t kLeastProgress = 1024;

}  // namespace

uint64_t GatewayRun::time_left(int64_t limit) {
  const uint64_t sent = exchange_->bytes_sent;
  const uint64_t received = exchange_->bytes_received;
  const uint64_t now = worker_.loop.now();
  if (!timed_) moved_at_ = now;
  timed_ = true;
  // A window that opens by some bytes at a time is no progress.
  const bool trickles = plan_.multiplexed && sent != sent_ && sent - sent_ < kLeastProgress &&
                        exchange_->connected && connection_->unsent(*exchange_) > 0;
  if (received != received_ || (sent != sent_ && !trickles)) {
    sent_ = sent;
    received_ = received;
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
  if (!send_request_head()) co_return no_stream();
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
    } else {
      wait_for_client();
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

}  // namespace weir::http
