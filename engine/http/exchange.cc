#include "engine/http/exchange.h"

#include "engine/base/free_list.h"
#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/error_page.h"
#include "engine/http/graph.h"
#include "engine/http/http2_settings.h"
#include "engine/http/phase_engine.h"
#include "engine/http/session.h"
#include "engine/http/uri.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr size_t kExchangesKept = 256;
constinit thread_local FreeList free_exchanges;

thread_local FreeListKeeper keeper(std::span(&free_exchanges, 1));

// Stands for a head until there is one.
MessageHead& no_head() {
  static MessageHead head;
  return head;
}

}  // namespace

void* Exchange::operator new(size_t size) {
  if (void* memory = free_exchanges.pop()) return memory;
  keeper.arm();
  return allocate_piece(size);
}

void Exchange::operator delete(void* memory, size_t) {
  if (!free_exchanges.push(memory, kExchangesKept)) std::free(memory);
}

Exchange::Exchange(Session& session, StreamId stream, Ref<Generation> generation,
                   const Listener& listener)
    : Exchange(&session, session.worker(), session.facts(), stream, std::move(generation),
               listener) {
  written_before_ = session.queued();
}

Exchange::Exchange(Worker& worker, const ConnectionFacts& facts, Ref<Generation> generation,
                   const Listener& listener)
    : Exchange(nullptr, worker, facts, 0, std::move(generation), listener) {}

Exchange::Exchange(Session* session, Worker& worker, const ConnectionFacts& facts, StreamId stream,
                   Ref<Generation> generation, const Listener& listener)
    : session_(session),
      worker_(worker),
      facts_(&facts),
      stream_(stream),
      generation_(std::move(generation)),
      listener_(listener),
      body_(*this),
      send_timer_(&Exchange::send_timed_out, this),
      delay_timer_(&Exchange::delay_over, this),
      number_(facts.requests),
      started_at_(worker_.loop.now()),
      started_wall_(worker_.loop.wall_milliseconds()) {
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
  if (start_pending_) {
    reset_reason_ = reset.reason;  // told by the server that is chosen yet
  } else {
    main_->log(Severity::error, reset.reason);
  }
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
  // The rest of a head that is too long is on its way: the answer must not be lost to a reset.
  lingering_ = reset_status_ == 414 || reset_status_ == 494;
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
      // nginx reads no field after such a line, so that logs and error pages have none either.
      head_->bytes = static_cast<uint32_t>(head_->request_line.size()) + 2;
      head_->headers.clear();
      head_->host = {};
    }
    main.log(Severity::info, reason);
    PhaseEngine::refuse(main, 400);
    return;
  }
  choose_server();
  if (multiplexed()) apply_location();  // an answer of the server's rewrites counts as well
  log_ignored_fields();
  if (*reset_reason_ != 0) main.log(Severity::error, reset_reason_);
  current.uri = target.uri;
  current.args = target.args;
  current.extension = target.extension;
  current.escape_needed = target.changed;
  // http://host?query has no path of its own that could be sent on.
  if (head_->target.starts_with('?')) current.unchanged = false;
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

}  // namespace weir::http
