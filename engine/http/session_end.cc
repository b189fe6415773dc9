// What follows an exchange: the next request, lingering, the end; and what ends a connection from
// outside.

#include <algorithm>
#include <string>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/session.h"
#include "engine/net/socket_options.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"

namespace weir::http {

bool Session::end_exchange(Exchange& exchange) {
  if (handed_over_) {
    remove_exchange(exchange.stream());
    delete &exchange;
    destroy();
    return false;
  }
  bool keep = exchange.may_keep_alive();
  bool reset = exchange.wants_reset();
  bool linger = exchange.wants_lingering();
  const CoreSettings& settings = exchange.settings();
  bool seek_more = settings.lingering_close != LingeringClose::off && !broken_ &&
                   (unread_ || stream_->maybe_readable());
  uint64_t idle_time = static_cast<uint64_t>(settings.keepalive_timeout.value);
  uint64_t idle_minimum = static_cast<uint64_t>(settings.keepalive_min_timeout.value);
  uint64_t lingering_time = static_cast<uint64_t>(settings.lingering_time.value);
  uint64_t lingering_timeout = static_cast<uint64_t>(settings.lingering_timeout.value);
  bool no_delay = settings.tcp_nodelay;
  remove_exchange(exchange.stream());
  delete &exchange;
  if (has_exchanges()) return true;
  if (broken_ || timed_out_ || reset || state_ == State::closed) {
    close(reset);
  } else if (keep) {
    codec_->next_exchange();
    go_idle(idle_time, idle_minimum, no_delay);
    return true;
  } else if (linger || seek_more) {
    begin_lingering(lingering_time, lingering_timeout);
    return true;
  } else {
    close(reset);
  }
  destroy();
  return false;
}

void Session::go_idle(uint64_t timeout, uint64_t minimum, bool no_delay) {
  state_ = State::idle;
  pipelined_ = unread_ != nullptr;
  head_bytes_ = 0;
  if (no_delay) set_no_delay();
  deadline_ = minimum == 0 ? 0 : worker().loop.now() + minimum;
  timer_.arm(worker().loop, timeout);
  if (unread_) return;
  if (multiplexed_ && !codec_->output().empty()) return;  // write_some() does it
  codec_->release_memory();
  codec_->output().release();
}

void Session::set_no_delay() {
  if (no_delay_set_ || facts_->peer.is_unix()) return;
  no_delay_set_ = true;
  (void)net::set_no_delay(stream_->descriptor(), true);
}

void Session::begin_lingering(uint64_t time, uint64_t timeout) {
  state_ = State::lingering;
  unread_.reset();
  stream_->shutdown();
  deadline_ = worker().loop.now() + time;
  lingering_timeout_ = static_cast<uint32_t>(timeout);
  timer_.arm(worker().loop, std::min(time, timeout));
  if (stream_->maybe_readable()) stream_->read_later();
}

void Session::timer_fired(void* self) {
  static_cast<Session*>(self)->on_timer();
}

void Session::on_timer() {
  if (state_ == State::open) {
    // The codec gives what it has of a head: the exchange that comes of it logs 408.
    timed_out_ = true;
    input_ended_ = end_told_ = true;
    unread_.reset();
    codec_->end_of_input();
    settle();
    return;
  }
  if (multiplexed_ && (state_ == State::idle || codec_->wants_close())) {
    if (say_goodbye()) return;
    close(false);
    destroy();
    return;
  }
  if (state_ == State::idle && facts_->requests == 0) {
    log(Severity::info, "client timed out (110: Connection timed out) while waiting for request");
  } else if (state_ == State::proxy_header) {
    log(Severity::info,
        "client timed out (110: Connection timed out) while reading PROXY protocol");
  } else if (state_ == State::handshake) {
    log(Severity::info, "client timed out (110: Connection timed out) while SSL handshaking");
  }
  close(false);
  destroy();
}

void Session::drain() {
  // Who has just connected is about to ask: as long as it may take.
  const bool fresh = facts_->requests == 0 && !multiplexed_;
  if (state_ != State::idle || has_exchanges() || fresh || unread_) {
    codec_->finish_connection();
    flush();
    return;
  }
  if (multiplexed_) {
    // The client has time to see that it is to go, then the last word is said.
    codec_->finish_connection();
    if (state_ == State::idle && !has_exchanges()) timer_.arm(worker().loop, 1000);
    flush();
    return;
  }
  uint64_t now = worker().loop.now();
  if (deadline_ > now) {
    timer_.arm(worker().loop, deadline_ - now);
    return;
  }
  destroy();
}

// After a change of configuration: the listener has another number now, or is gone.
void Session::move_to(size_t resource) {
  resource_ = resource;
  listener_ = nullptr;
  generation_ = 0;
  if (resource == kNoResource && !has_exchanges()) {
    destroy();
    return;
  }
  if (resource == kNoResource) {
    codec_->finish_connection();
    if (multiplexed_) {
      // Nobody is there any more for requests that come later.
      codec_->finish_connection();
      flush();
    }
    for_each_exchange([](Exchange& exchange) { exchange.disable_keep_alive(); });
    return;
  }
  look_up_listener();
  if (!tls_ && !(listener_ && listener_->ssl)) return;
  const std::string policy = tls_ ? tls_->context().policy_digest() : std::string();
  if (state_ == State::handshake || !policy_changed(policy)) return;
  if (state_ == State::idle && !has_exchanges() && !unread_) {
    destroy();
    return;
  }
  codec_->finish_connection();
  for_each_exchange([](Exchange& exchange) { exchange.disable_keep_alive(); });
}

void Session::log_farewell() {
  if (facts_->requests == 0) {
    log(Severity::info, "client closed connection while waiting for request");
  } else {
    log(Severity::info, "client " + facts_->peer.host_text() + " closed keepalive connection", 0,
        false);
  }
}

}  // namespace weir::http
