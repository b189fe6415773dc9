// How a request ends: in whole, broken off, or as a tunnel; and its log phase.

#include <algorithm>
#include <cerrno>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/phase_engine.h"
#include "engine/http/session.h"
#include "engine/http/tunnel_handover.h"
#include "engine/worker.h"

namespace weir::http {

void Exchange::request_finished(Request& request) {
  if (!request.is_main()) {
    request.finish_status_ = request.response_.status;
    if (request.settings<CoreSettings>().log_subrequest && !request.logged_) {
      request.logged_ = true;
      for (auto* handler : generation_->http->hooks.log_handlers) handler(request);
    }
    if (request.subrequest_output_ == SubrequestOutput::inline_body && writing_ == &request) {
      request.parent_->release_postponed();
    }
    request.parent_->event_.ring();
  } else if (!request.last_sent_ && !gone_ && !aborted_ && !tunnel_) {
    terminate(0);  // a handler that could not finish what it began
  }
  wake();
}

void Exchange::terminate(int status) {
  Response& response = main_->response_;
  // What peer_gone() said of a client that is not there any more stands.
  const bool known = gone_ && status == 499 && response.status != 0;
  if (status > 0 && !known && (response.status == 0 || bytes_sent() == 0)) response.status = status;
  keep_alive_ = false;
  lingering_ = false;
  if (aborted_ || gone_ || tunnel_) return;
  aborted_ = true;
  pending_.clear();
  delay_timer_.cancel();
  if (session_ == nullptr) return;
  if (head_sent_ && !response_ended_) session_->codec().send_reset(stream_, kInternalError);
  if (!head_sent_ && multiplexed()) session_->codec().send_reset(stream_, kProtocolError);
  response_ended_ = true;
  end_position_ = session_->queued();
  session_->flush();
}

// Of a response that turned out to be broken, nothing goes out if nothing has yet.
void Exchange::withhold_response() {
  if (session_ == nullptr || gone_ || aborted_ || bytes_sent() > 0) return;
  if (main_->received_->version == Version::http_2) return;  // the output is others' too
  pending_.clear();
  session_->codec().output().clear();
}

// The connection is broken, or taken to be.
void Exchange::peer_gone(int status) {
  if (gone_) return;
  gone_ = true;
  left_ = true;
  keep_alive_ = false;
  lingering_ = false;
  drop_output();
  if (!started_) {
    main_->response_.status = status;
    main_->finished_ = true;
    start_pending_ = false;
  } else if (status > 0 && (main_->response_.status == 0 || bytes_sent() == 0)) {
    main_->response_.status = status;
  }
  if (!body_.complete()) body_.fail(status > 0 ? status : 400);
  ring_all();
}

// It has closed its direction while we work for it.
void Exchange::peer_left() {
  if (left_) return;
  left_ = true;
  ring_all();
}

void Exchange::drop_output() {
  pending_.clear();
  response_ended_ = true;
  // What the codec has of it still refers to this exchange.
  end_position_ = session_ == nullptr ? 0 : session_->queued();
  send_timer_.cancel();
  delay_timer_.cancel();
}

void Exchange::head_timed_out(MessageHead* head, const char* reason) {
  if (head != nullptr) {
    head_ = head;
    main_->received_ = head;
    reset_reason_ = reason;
    take_refused_head();
  }
  main_->activity_ = head_ == nullptr || head_->bytes == 0 ? "reading client request line"
                                                           : "reading client request headers";
  main_->log(Severity::info, "client timed out", ETIMEDOUT);
  reset_ = settings().reset_timedout_connection;
  peer_gone(408);
}

bool Exchange::requests_finished() {
  if (!main_->finished_) return false;
  for (Request* request = subrequests_; request != nullptr; request = request->next_subrequest_) {
    if (!request->finished_) return false;
  }
  return true;
}

bool Exchange::over() {
  if (logged_) return true;
  if (!main_->finished_ || start_pending_) return false;
  if (tunnel_) return true;
  if (!gone_ && !aborted_ && !requests_finished()) return false;
  if (!session_->broken() && (!response_ended_ || session_->written() < end_position_))
    return false;
  main_->completed_ = !gone_ && !aborted_;
  if (run_post_action()) return false;
  if (!discard_is_over()) return false;
  run_log_phase();
  return true;
}

// A response went out before its request had come in whole: for the connection to live on, the rest
// is read and dropped within the limits of lingering.
bool Exchange::discard_is_over() {
  if (multiplexed()) return true;  // the rest of this stream is refused
  if (!keep_alive_ || gone_ || aborted_ || body_.complete() || body_.error() != 0) return true;
  uint64_t now = worker_.loop.now();
  if (!discarding_) {
    discarding_ = true;
    body_.discard();
    discard_deadline_ = now + static_cast<uint64_t>(settings().lingering_time.value);
    restart_discard_timer();
    return body_.complete();
  }
  if (now < discard_deadline_ && delay_timer_.armed()) return false;
  keep_alive_ = false;
  return true;
}

void Exchange::restart_discard_timer() {
  uint64_t now = worker_.loop.now();
  uint64_t wait = static_cast<uint64_t>(settings().lingering_timeout.value);
  uint64_t left = discard_deadline_ > now ? discard_deadline_ - now : 1;
  delay_timer_.arm(worker_.loop, std::min(wait, left));
}

bool Exchange::run_post_action() {
  const std::string& target = settings().post_action;
  if (target.empty() || main_->post_action_ || main_->uri_changes_left_ == 0) return false;
  main_->post_action_ = true;
  main_->response_.header_only = true;
  PhaseEngine::run_again(*main_, target);
  return !main_->finished_;
}

void Exchange::run_log_phase() {
  logged_ = true;
  main_->activity_ = "logging request";
  // What follows on the connection is no matter of this request any more (nginx: r->keepalive is
  // 0).
  keeps_connection_ = keep_alive_;
  keep_alive_ = false;
  const Hooks& hooks = generation_->http->hooks;
  for (PhaseHandler handler : hooks.phases[static_cast<size_t>(Phase::log)]) handler(*main_);
  for (auto* handler : hooks.log_handlers) handler(*main_);
}

bool Exchange::may_keep_alive() const {
  if (worker_.draining || session_->broken() || !session_->codec().reusable()) return false;
  // A stream that failed says nothing about the others of its connection.
  if (main_->received_->version == Version::http_2) return true;
  return keeps_connection_ && !gone_ && !aborted_ && body_.complete() && body_.error() == 0;
}

bool Exchange::wants_lingering() const {
  switch (settings().lingering_close) {
    case LingeringClose::off:
      return false;
    case LingeringClose::always:
      return !gone_;
    case LingeringClose::on:
      return !gone_ && lingering_;
  }
  return false;
}

// --- tunnels

bool Exchange::begin_tunnel(TunnelHandover& to) {
  if (gone_ || session_ == nullptr || tunnel_ || multiplexed()) return false;
  final_sent_ = bytes_sent() + session_->unwritten();
  tunnel_ = true;
  main_->completed_ = true;
  const Hooks& hooks = generation_->http->hooks;
  if (!hooks.tunnels_keep_exchange) {
    for (auto* handler : hooks.tunnel_log_handlers) {
      if (auto line = handler(*main_)) to.log.lines_.push_back(std::move(line));
    }
    logged_ = true;
  } else {
    to.log.exchange_.reset(this);
    session_->forget(*this);
  }
  to.log_use = generation_->log_use;
  Session* session = std::exchange(session_, nullptr);
  session->hand_over(to);
  session->wake();
  return true;
}

void Exchange::finish_tunnel(const TunnelEnd& end) {
  final_sent_ += end.sent_to_client;
  main_->completed_ = end.completed;
  run_log_phase();
}

PendingLog::PendingLog() = default;
PendingLog::~PendingLog() = default;
PendingLog::PendingLog(PendingLog&&) noexcept = default;
PendingLog& PendingLog::operator=(PendingLog&&) noexcept = default;

void PendingLog::finish(const TunnelEnd& end) {
  for (auto& line : lines_) line->finish(end);
  lines_.clear();
  if (exchange_) exchange_->finish_tunnel(end);
  exchange_.reset();
}

}  // namespace weir::http
