// Connections with several streams: how they begin, how their streams end, and how they say
// goodbye.

#include <algorithm>
#include <string>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/h2/codec.h"
#include "engine/http/http2_settings.h"
#include "engine/http/session.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

// How long we wait for a client that was told to go, with nothing left to do.
constexpr uint64_t kGoodbyeTime = 1000;
// For a client that takes no more bytes and has no request whose timer runs.
constexpr uint64_t kStuckTime = 5000;
// lingering_time and lingering_timeout as nginx has them.
constexpr uint64_t kLingeringTime = 30000;
constexpr uint64_t kLingeringTimeout = 5000;

}  // namespace

bool Session::may_begin_http2() const {
  return listener_->http2 || listener_->default_server->scope->get<Http2Settings>().enabled;
}

// What comes first says which protocol it is. True: that is known, and `bytes` are for its codec.
bool Session::settle_protocol(Slice& bytes) {
  std::string held;
  if (proxy_text_) held = std::move(*proxy_text_);
  proxy_text_.reset();
  const size_t before = held.size();
  held.append(bytes.view().substr(0, h2::kPreface.size() - before));
  if (h2::kPreface.starts_with(held) && held.size() < h2::kPreface.size()) {
    proxy_text_ = std::make_unique<std::string>(std::move(held));
    bytes = Slice();
    return false;
  }
  may_be_http2_ = false;
  if (held == h2::kPreface) begin_http2();
  if (before > 0) {
    held.resize(before);
    feed_text(held);
  }
  return true;
}

void Session::begin_http2() {
  const auto& settings = listener_->default_server->scope->get<Http2Settings>();
  h2::ServerOptions options;
  options.max_concurrent_streams = static_cast<uint32_t>(settings.max_concurrent_streams.value);
  options.body_preread_size = static_cast<uint32_t>(settings.body_preread_size.value);
  options.extended_connect = settings.extended_connect;
  may_be_http2_ = false;
  multiplexed_ = true;
  codec_ = h2::make_server_codec(*this, limits_, options);
  set_no_delay();
  flush();
}

// Held back while the protocol was not known.
void Session::feed_text(std::string_view text) {
  Slice bytes = Slice::copy_of(text);
  feed(bytes);
  if (!bytes.empty()) unread_ = std::make_unique<Slice>(std::move(bytes));
}

void Session::on_connection_error(const char* reason) {
  if (*reason != 0)
    log(Severity::info, std::string(reason) + " while processing HTTP/2 connection");
}

uint64_t Session::now() const {
  return sessions_.worker().loop.now();
}

// Every stream has its turn: the one that was first last time comes last.
void Session::tell_written() {
  if (!more_exchanges_) {
    if (exchange_ != nullptr) exchange_->on_written();
    return;
  }
  auto& others = *more_exchanges_;
  const auto first = others.upper_bound(turn_);
  turn_ = first == others.end() ? 0 : first->first;
  for (auto at = first; at != others.end(); ++at) at->second->on_written();
  if (exchange_ != nullptr) exchange_->on_written();
  for (auto at = others.begin(); at != first; ++at) at->second->on_written();
}

// A partial frame has become whole, and began no request.
void Session::settle_input() {
  if (state_ != State::open || !codec_->idle() || has_exchanges()) return;
  state_ = State::idle;
  if (listener_ == nullptr) return;
  const auto& core = listener_->default_server->scope->get<CoreSettings>();
  timer_.arm(worker().loop, static_cast<uint64_t>(core.keepalive_timeout.value));
}

// One of several is over; the others go on.
void Session::end_stream(Exchange& exchange) {
  const CoreSettings& settings = exchange.settings();
  const auto idle_time = static_cast<uint64_t>(settings.keepalive_timeout.value);
  const auto idle_minimum = static_cast<uint64_t>(settings.keepalive_min_timeout.value);
  const StreamId stream = exchange.stream();
  remove_exchange(stream);
  delete &exchange;
  codec_->forget(stream);
  flush_wanted_ = flush_wanted_ || !codec_->output().empty();
  if (has_exchanges() || broken_) return;
  go_idle(std::max<uint64_t>(idle_time, 1), idle_minimum, false);
  if (!codec_->reusable()) {
    timer_.arm(worker().loop, kGoodbyeTime);
  }
}

// Nothing more is to come: the farewell goes out, and what the client sent meanwhile is read, so
// that it can be read there.
bool Session::leave_if_over() {
  if (!codec_->wants_close() || has_exchanges()) return false;
  if (state_ != State::idle && state_ != State::open) return false;
  if (!codec_->output().empty()) {
    if (write_blocked_) timer_.arm(worker().loop, kStuckTime);
    return false;
  }
  linger();
  return true;
}

void Session::linger() {
  if (listener_ == nullptr) {
    // Its listener is gone, and the settings with it.
    begin_lingering(kLingeringTime, kLingeringTimeout);
    return;
  }
  const auto& core = listener_->default_server->scope->get<CoreSettings>();
  if (core.lingering_close == LingeringClose::off || end_told_) {
    close(false);
    return;
  }
  begin_lingering(static_cast<uint64_t>(core.lingering_time.value),
                  static_cast<uint64_t>(core.lingering_timeout.value));
}

// An idle connection's time is over, or the process ends. True: it lives on for its farewell.
bool Session::say_goodbye() {
  codec_->finish_connection();
  codec_->finish_connection();
  flush_wanted_ = true;
  write_some();
  if (broken_ || end_told_) return false;
  linger();
  return state_ == State::lingering;
}

}  // namespace weir::http
