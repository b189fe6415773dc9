#include "engine/http/exchange.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/free_list.h"
#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/error_page.h"
#include "engine/http/graph.h"
#include "engine/http/http2_settings.h"
#include "engine/http/phase_engine.h"
#include "engine/http/session.h"
#include "engine/http/tunnel_handover.h"
#include "engine/http/uri.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr size_t kExchangesKept = 256;
constinit thread_local FreeList free_exchanges;

struct Reaper {
  ~Reaper() { free_exchanges.close(); }
  void arm() { armed = true; }
  bool armed = false;
};
thread_local Reaper reaper;

// Stands for a head until there is one.
MessageHead& no_head() {
  static MessageHead head;
  return head;
}

}  // namespace

void* Exchange::operator new(size_t size) {
  if (void* memory = free_exchanges.pop()) return memory;
  reaper.arm();
  return allocate_piece(size);
}

void Exchange::operator delete(void* memory, size_t) {
  if (!free_exchanges.push(memory, kExchangesKept)) std::free(memory);
}

Exchange::Exchange(Session& session, StreamId stream, Ref<Generation> generation,
                   const Listener& listener)
    : session_(&session),
      worker_(session.worker()),
      facts_(&session.facts()),
      stream_(stream),
      generation_(std::move(generation)),
      listener_(listener),
      body_(*this),
      send_timer_(&Exchange::send_timed_out, this),
      delay_timer_(&Exchange::delay_over, this),
      started_at_(worker_.loop.now()),
      started_wall_(worker_.loop.wall_milliseconds()),
      written_before_(session.queued()) {
  prepare(listener);
}

Exchange::Exchange(Worker& worker, const ConnectionFacts& facts, Ref<Generation> generation,
                   const Listener& listener)
    : session_(nullptr),
      worker_(worker),
      facts_(&facts),
      stream_(0),
      generation_(std::move(generation)),
      listener_(listener),
      body_(*this),
      send_timer_(&Exchange::send_timed_out, this),
      delay_timer_(&Exchange::delay_over, this),
      started_at_(worker_.loop.now()),
      started_wall_(worker_.loop.wall_milliseconds()),
      written_before_(0) {
  prepare(listener);
}

void Exchange::prepare(const Listener& listener) {
  main_.emplace(*this, nullptr);
  main_->server_ = listener.default_server;
  main_->scope_ = listener.default_server->scope.get();
  main_->received_ = &no_head();
  main_->body_ = &body_;
  writing_ = &*main_;
}

Exchange::~Exchange() {
  abandon_file_read();
  // Tasks first: their locals use what modules keep in the arena.
  for (Request* request = subrequests_; request != nullptr; request = request->next_subrequest_) {
    request->task_ = Task<PhaseResult>();
  }
  main_->task_ = Task<PhaseResult>();
}

bool Exchange::multiplexed() const {
  return session_ != nullptr && session_->multiplexed();
}

void Exchange::wake() {
  if (session_ != nullptr) session_->wake();
}

// --- from the codec

void Exchange::on_head(MessageHead& head) {
  head_ = &head;
  head_received_ = true;
  start_pending_ = true;
  main_->received_ = &head;
  if (!head.connect_protocol.empty()) begin_bridged();
  // What follows such a request is no body, and waits.
  body_.declare(is_bridged() ? BodyLength() : head.body);
}

void Exchange::on_data(Slice data) {
  if (discarding_) restart_discard_timer();
  body_.on_data(std::move(data));
}

void Exchange::on_trailers(HeaderList& trailers) {
  body_.on_trailers(trailers);
}

void Exchange::on_end() {
  input_ended_ = true;
  body_.on_end();
}

void Exchange::on_reset(const Reset& reset) {
  if (!head_received_ && reset.head != nullptr) {
    head_ = reset.head;
    main_->received_ = head_;
  }
  if (reset.cause != Reset::Cause::malformed) {
    if (!head_received_) {
      reset_reason_ = reset.reason;
      take_refused_head();
    }
    if (*reset.reason != 0) main_->log(Severity::info, reset.reason);
    // As nginx has it: a body that goes straight on was cut, any other client left.
    const bool left = multiplexed() && (body_.complete() || !body_.is_streaming());
    peer_gone(left ? 499 : 400);
    return;
  }
  keep_alive_ = false;
  int status = reset.status == 0 ? 400 : reset.status;
  if (!head_received_) {
    reset_status_ = status;
    reset_reason_ = reset.reason;
    start_pending_ = true;
    return;
  }
  main_->log(Severity::error, reset.reason);
  body_.refuse(status);
}

// --- beginning

void Exchange::settle() {
  if (!start_pending_) return;
  start_pending_ = false;
  started_ = true;
  if (gone_) return;
  if (reset_status_ == 0) {
    begin_request();
    return;
  }
  take_refused_head();
  if (*reset_reason_ != 0) main_->log(Severity::info, reset_reason_);
  body_.no_continue();
  PhaseEngine::refuse(*main_, reset_status_);
}

void Exchange::log_ignored_fields() {
  if (head_->ignored_count == 0 || !main_->logs(Severity::info)) return;
  for (uint32_t i = 0; i < head_->ignored_count; ++i) {
    std::string text = "client sent invalid header line: \"";
    text.append(head_->ignored_lines[i]).append("\" while reading client request headers");
    main_->log(Severity::info, text);
  }
}

// What a refused head has, for the log and for error pages: nothing when its first line was
// refused.
void Exchange::take_refused_head() {
  if (head_ == nullptr) return;
  std::string_view reason = reset_reason_;
  if (head_->method_text.empty() || reason.ends_with("request line")) {
    if (!multiplexed()) head_->bytes = 0;
    return;
  }
  CurrentTarget& current = main_->current_;
  current.method = head_->method;
  current.method_text = head_->method_text;
  const auto& server = main_->settings<ServerSettings>();
  ParsedTarget target = parse_target(arena_, head_->target, server.merge_slashes);
  if (target.ok) {
    current.uri = target.uri;
    current.args = target.args;
    current.extension = target.extension;
  }
  choose_server();
  log_ignored_fields();
}

void Exchange::begin_request() {
  Request& main = *main_;
  CurrentTarget& current = main.current_;
  current.method = head_->method;
  current.method_text = head_->method_text;
  const auto& server = main.settings<ServerSettings>();
  ParsedTarget target = parse_target(arena_, head_->target, server.merge_slashes);
  keep_alive_ = head_->keep_alive;
  lingering_ = body_.present();
  if (!target.ok) {
    const char* reason = "client sent invalid request while reading client request line";
    if (multiplexed()) {
      reason = "client sent invalid request while reading client request headers";
    } else {
      head_->bytes = static_cast<uint32_t>(head_->request_line.size()) + 2;
    }
    main.log(Severity::info, reason);
    PhaseEngine::refuse(main, 400);
    return;
  }
  choose_server();
  log_ignored_fields();
  current.uri = target.uri;
  current.args = target.args;
  current.extension = target.extension;
  current.escape_needed = target.changed;
  if (misdirected_) {
    keep_alive_ = false;
    main.log(Severity::info,
             "client attempted to request the server name different from the one that was "
             "negotiated while reading client request headers");
    PhaseEngine::refuse(main, 421);
    return;
  }
  if (multiplexed() && !listener_.http2 && !main.settings<Http2Settings>().enabled) {
    main.log(Severity::info,
             "client attempted to request the server name for which the negotiated protocol is "
             "disabled while reading client request headers");
    PhaseEngine::refuse(main, 421);
    return;
  }
  if (head_->method == Method::trace || head_->method == Method::connect) {
    main.log(Severity::info,
             head_->method == Method::trace
                 ? "client sent TRACE method while reading client request headers"
                 : "client sent CONNECT method while reading client request headers");
    PhaseEngine::refuse(main, 405);
    return;
  }
  if (const int status = refused_by_tls()) {
    PhaseEngine::refuse(main, status);
    return;
  }
  PhaseEngine::begin(main);
}

void Exchange::begin_own(MessageHead& head, const Location& location) {
  on_head(head);
  start_pending_ = false;
  input_ended_ = true;
  body_.on_end();
  Request& main = *main_;
  main.server_ = location.server;
  main.location_ = &location;
  main.scope_ = location.scope.get();
  CurrentTarget& current = main.current_;
  current.method = head.method;
  current.method_text = head.method_text;
  const ParsedTarget target = parse_target(arena_, head.target, true);
  current.uri = target.ok ? target.uri : head.target;
  current.args = target.args;
  current.extension = target.extension;
  current.escape_needed = target.changed;
}

void Exchange::apply_location() {
  if (!keep_alive_) return;
  const CoreSettings& location = settings();
  if (location.keepalive_timeout.value == 0 ||
      facts_->requests >= static_cast<uint64_t>(location.keepalive_requests.value) ||
      worker_.loop.now() - facts_->accepted_at >
          static_cast<uint64_t>(location.keepalive_time.value)) {
    keep_alive_ = false;
    if (multiplexed()) {
      session_->codec().finish_connection();
      session_->flush();
    }
    return;
  }
  if (multiplexed()) return;
  bool post = main_->current_.method == Method::post;
  const bool msie6 = location.keepalive_disable.has(OldBrowser::msie6);
  const bool safari = location.keepalive_disable.has(OldBrowser::safari);
  if (!safari && (!msie6 || !post)) return;
  AgentFacts agent = agent_facts(*main_);
  if ((msie6 && post && agent.msie6) || (safari && agent.safari)) {
    keep_alive_ = false;
  }
}

void Exchange::adopt(Request& subrequest) {
  subrequest.next_subrequest_ = subrequests_;
  subrequests_ = &subrequest;
}

void Exchange::ring_all() {
  main_->event_.ring();
  for (Request* request = subrequests_; request != nullptr; request = request->next_subrequest_) {
    request->event_.ring();
  }
  wake();
}

void Exchange::credit(size_t bytes) {
  if (session_ == nullptr) return;
  session_->codec().consumed(stream_, bytes);
  // With windows the credit is something to be sent.
  if (session_->codec().multiplexes()) session_->flush();
  session_->wake();
}

void Exchange::client_too_slow() {
  keep_alive_ = false;
  reset_ = settings().reset_timedout_connection;
}

bool Exchange::fits_head_buffer(uint64_t body_bytes) const {
  const auto& server = listener_.default_server->scope->get<ServerSettings>();
  return head_->bytes + body_bytes <= server.head_limits.first_buffer;
}

void Exchange::widen_window() {
  if (!multiplexed()) return;
  session_->codec().widen_window(stream_);
  session_->flush();
}

void Exchange::want_body() {
  wake();
}

// --- ends

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
