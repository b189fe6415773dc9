#include <algorithm>
#include <cerrno>

#include "engine/http/connection_facts.h"
#include "engine/http/gateway_run.h"
#include "engine/http/graph.h"
#include "engine/http/stream_bridge.h"
#include "engine/http/tunnel.h"
#include "engine/http/tunnel_handover.h"
#include "engine/worker.h"

// The body of a response on its way to the client.
namespace weir::http {
namespace {

// How much of a spooled response is offered to the client at once.
constexpr size_t kFileSlice = 512 * 1024;
// Reads before other connections have their turn.
constexpr int kReadsInARow = 16;

}  // namespace

// Memory first (up to proxy_buffers), then the temporary file. What is in the file goes out before
// what comes later, so once the file is in use everything passes through it until it is empty.
void GatewayRun::spool(Chain&& data) {
  const uint64_t memory = settings_.buffers.count * settings_.buffers.size;
  if (!spool_.waiting() &&
      (stored_.bytes() + data.bytes() <= memory || !settings_.temp_file_limit())) {
    stored_.append(std::move(data));
    return;
  }
  if (!spool_.is_open()) {
    std::string path;
    if (const int error = spool_.open(worker_, settings_.temp_path, path)) {
      log(Severity::crit, "open() \"" + path + "\" failed", error);
      stored_.append(std::move(data));
      return;
    }
    log(Severity::warn, "an upstream response is buffered to a temporary file " + path);
  }
  // What is in memory already stays there: it goes first.
  Chain rest = std::move(data);
  if (const int error = spool_.write(std::move(rest))) {
    log(Severity::crit, "pwritev() to a temporary file failed", error);
    exchange_->closed = true;
    exchange_->was_reset = true;
  }
}

// Gives the client what was kept for it. True when nothing is left.
bool GatewayRun::forward_stored() {
  if (!stored_.empty() && request_.output_ready()) {
    Chain data = std::move(stored_);
    stored_.clear();
    request_.send(std::move(data), false, !buffering_);
  }
  while (stored_.empty() && spool_.waiting() && request_.output_ready()) {
    Chain data;
    data.push(spool_.take(kFileSlice));
    request_.send(std::move(data), false, !buffering_);
  }
  return stored_.empty() && !spool_.waiting();
}

uint64_t GatewayRun::rate_delay() {
  if (!rate_) return 0;
  const uint64_t elapsed = worker_.loop.now() - relay_started_;
  const uint64_t allowed = rate_ * (elapsed / 1000 + 1);
  if (relayed_ < allowed) return 0;
  return (relayed_ - allowed) * 1000 / rate_ + 1;
}

// May more of the body be taken from the peer?
bool GatewayRun::has_room() const {
  const bool kept = !stored_.empty() || spool_.waiting();
  if (request_.output_ready() && !kept) return true;
  if (!buffering_) return false;
  const uint64_t memory = settings_.buffers.count * settings_.buffers.size;
  return (stored_.bytes() < memory && !spool_.waiting()) ||
         spool_.size() < settings_.temp_file_limit();
}

void GatewayRun::take_trailers() {
  if (!exchange_->trailers) return;
  record_.trailers = exchange_->trailers;
  plan_.take_trailers(request_, *exchange_->trailers);
  if (!settings_.pass_trailers) return;
  for (const Header& header : *exchange_->trailers) {
    if (settings_.hidden.contains(header)) continue;
    request_.response().trailers.add(request_.arena(), header);
  }
}

// The codec's words; what came with the head of an unbuffered response is still read with it.
std::string_view GatewayRun::reset_reason() {
  const std::string_view reason = exchange_->reset.reason;
  constexpr std::string_view kReading = " while reading upstream";
  if (buffering_ || relayed_ > 0 || !reason.ends_with(kReading)) return reason;
  ArenaText text(request_.arena(), reason.size() + 24);
  text.append(reason.substr(0, reason.size() - kReading.size()));
  text.append(" while reading response header from upstream");
  return text.view();
}

PhaseResult GatewayRun::truncated() {
  if (exchange_->was_reset) {
    request_.set_activity("");
    if (exchange_->reset.reason[0]) log(Severity::error, reset_reason());
  } else if (const net::LayerFailure* failure = exchange_->failure) {
    log(failure->severity, failure->text, failure->error_number);
  } else if (exchange_->error) {
    log(Severity::error, std::string(exchange_->failed_call) + " failed", exchange_->error);
  } else {
    log(Severity::error, "upstream prematurely closed connection");
  }
  if (relayed_ == 0 && exchange_->was_reset && exchange_->reset.cause == Reset::Cause::malformed) {
    request_.withhold_response();
  }
  return finish_broken(502);
}

void GatewayRun::note_surplus() {
  if (exchange_->surplus) log(Severity::warn, exchange_->surplus);
}

PhaseResult GatewayRun::finish_broken(int status) {
  if (plan_.end_broken(request_, status)) {
    end_attempt(upstream::Selection::Result::ok);
    drop_connection();
    return PhaseResult::done();
  }
  // The client must see that the body is not whole: its connection ends without the last chunk.
  request_.disable_keep_alive();
  return finish(status);
}

PhaseResult GatewayRun::finish_whole(Chain data) {
  note_surplus();
  take_trailers();
  end_attempt(upstream::Selection::Result::ok);
  release_connection();
  request_.send(std::move(data), true);
  return PhaseResult::done();
}

Task<PhaseResult> GatewayRun::relay() {
  request_.set_activity("reading upstream");
  if (exchange_->was_reset && exchange_->reset.cause == Reset::Cause::malformed) {
    co_return truncated();
  }
  // Unbuffered, the head does not wait for a body that may be long in coming.
  if (!buffering_ && exchange_->inbox.empty() && !exchange_->ended) {
    request_.send(Chain(), false, true);
  }
  int reads = 0;
  for (;;) {
    if (request_.client_gone()) co_return finish(499);
    const int body_status = send_body();
    if (body_status) co_return finish(body_status);
    const bool nothing_kept = forward_stored();
    // On a shared connection, what stays in the inbox keeps the stream's window closed.
    const bool over = exchange_->ended || exchange_->was_reset || exchange_->closed;
    const bool take = !plan_.multiplexed || over || (has_room() && !rate_delay());
    if (take && !exchange_->inbox.empty()) {
      Chain data = std::move(exchange_->inbox);
      exchange_->inbox.clear();
      const size_t bytes = data.bytes();
      relayed_ += bytes;
      connection_->consumed(*exchange_, bytes);
      if (nothing_kept && exchange_->ended && request_.output_ready()) {
        co_return finish_whole(std::move(data));
      }
      if (nothing_kept && request_.output_ready()) {
        request_.send(std::move(data), false, !buffering_);
      } else {
        spool(std::move(data));
      }
    }
    if (exchange_->ended) {
      note_surplus();
      take_trailers();
      end_attempt(upstream::Selection::Result::ok);
      release_connection();
      // The peer is done with; the rest is between us and the client.
      while (!forward_stored()) {
        if (request_.client_gone()) co_return PhaseResult::status(499);
        const Wait waited = co_await request_.event().wait();
        if (waited == Wait::cancelled) co_return PhaseResult::status(499);
      }
      request_.send(Chain(), true);
      co_return PhaseResult::done();
    }
    if (exchange_->was_reset) co_return truncated();

    // May more be read now?
    const uint64_t delay = rate_delay();
    exchange_->want_read = has_room() && !delay;
    if (exchange_->want_read) {
      if (reads < kReadsInARow && connection_->read_some(*exchange_)) {
        ++reads;
        continue;
      }
      if (reads >= kReadsInARow) connection_->read_later();
    }
    if (exchange_->ended || exchange_->was_reset) continue;
    if (!exchange_->inbox.empty() && (!plan_.multiplexed || exchange_->want_read)) continue;
    if (exchange_->closed && exchange_->want_read) co_return truncated();
    reads = 0;
    uint64_t left = 0;
    if (exchange_->want_read || past_deadline()) {
      left = past_deadline() ? 0 : time_left(settings_.read_timeout.value);
      if (!left) {
        log(Severity::error, "upstream timed out", ETIMEDOUT);
        co_return finish_broken(504);
      }
    } else {
      // While we do not read, the peer's silence is our doing.
      moved_at_ = worker_.loop.now();
    }
    if (delay) left = delay;
    const Wait waited = co_await request_.event().wait(until_deadline(left));
    if (waited == Wait::cancelled) co_return finish(499);
  }
}

// A tunnel that is one stream of the client's connection (RFC 8441).
Task<PhaseResult> GatewayRun::bridge() {
  if (!request_.accepts_upgrade(exchange_->head->headers)) {
    log(Severity::error,
        "upstream sent invalid WebSocket handshake while reading response header from upstream");
    co_return finish(502);
  }
  Response& response = request_.response();
  take_head();
  response.upgraded = true;
  response.content_length = -1;
  request_.send_head();
  update_counts();
  request_.set_activity("proxying upgraded connection");
  Chain early = connection_->take_raw(*exchange_);
  std::unique_ptr<net::Stream> stream = connection_->take_stream();
  drop_connection();
  BridgeOptions options;
  options.read_timeout = static_cast<uint64_t>(settings_.read_timeout.value);
  const BridgeResult result =
      co_await run_bridge(request_, std::move(stream), std::move(early), options);
  switch (result.end) {
    case BridgeEnd::both_ended:
      break;
    case BridgeEnd::timed_out:
      log(Severity::info, "upstream timed out", ETIMEDOUT);
      break;
    case BridgeEnd::upstream_failed:
      log(Severity::error, "recv() failed", result.error);
      break;
    case BridgeEnd::client_gone:
      break;
  }
  end_attempt(upstream::Selection::Result::ok);
  co_return PhaseResult::done();
}

PhaseResult GatewayRun::begin_tunnel() {
  Response& response = request_.response();
  take_head();
  response.upgraded = true;
  response.content_length = -1;
  request_.send_head();
  update_counts();
  TunnelOptions options;
  options.read_timeout = static_cast<uint64_t>(settings_.read_timeout.value);
  options.send_timeout = static_cast<uint64_t>(settings_.send_timeout.value);
  options.connection = request_.connection().serial;
  request_.log_upstream = request_.arena().copy(record_.url());
  options.context = request_.log_context();
  // No line is longer; an idle tunnel should not keep more.
  if (options.context.size() > ErrorLog::kLongestLine) {
    options.context.resize(ErrorLog::kLongestLine);
  }
  options.context.shrink_to_fit();
  options.error_log = request_.settings<CoreSettings>().error_log;
  std::unique_ptr<TunnelHandover> client = request_.begin_tunnel();
  if (!client) return finish(499);
  if (learning_) learn_session();
  Chain early = connection_->take_raw(*exchange_);
  std::unique_ptr<net::Stream> stream = connection_->take_stream();
  drop_connection();
  start_tunnel(worker_, std::move(client), std::move(stream), std::move(early),
               std::move(selection_), options);
  return PhaseResult::done();
}

}  // namespace weir::http
