#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "confparse/scope.h"
#include "confparse/variables.h"
#include "engine/async/event.h"
#include "engine/async/task.h"
#include "engine/base/arena.h"
#include "engine/base/slice.h"
#include "engine/event/deferred.h"
#include "engine/http/codec.h"
#include "engine/http/filter.h"
#include "engine/http/message.h"
#include "engine/http/phase.h"
#include "engine/http/request_body.h"
#include "engine/http/response.h"
#include "engine/log/error_log.h"
#include "engine/log/severity.h"

namespace weir {
struct Worker;
namespace net {
class Address;
}
class Generation;
}  // namespace weir

namespace weir::http {

struct Graph;
struct Location;
struct VirtualServer;
class Session;
class Exchange;
class UpstreamRecord;
class ClientBody;
struct TunnelHandover;

// Facts about the client connection that requests ask for; owned by the session.
struct ConnectionFacts;

// What rewrites and redirects change. Starts as what was received.
struct CurrentTarget {
  std::string_view uri;        // decoded, normalised path
  std::string_view args;       // raw, without '?'; null where there never were any
  std::string_view extension;  // of the last path segment, for types
  Method method = Method::unknown;
  std::string_view method_text;
  // uri is still the decoded form of the received target's path (nginx's valid_unparsed_uri):
  // proxy_pass without a path may send the received bytes.
  bool unchanged = true;
  bool internal = false;  // after an internal redirect or in a subrequest
  // the received path needed normalising ("//", "/./", %xx): nginx's complex_uri, quoted_uri
  bool escape_needed = false;
  // uri begins with the name of the location it was matched to (nginx's valid_location): false
  // once it is rewritten, until a location was looked for again; proxy_pass with a path then
  // replaces nothing, and there is no file behind an alias.
  bool location_valid = true;
  // uri is a path behind the alias of a location with a regular expression, which otherwise is
  // the whole path: after `try_files`
  bool behind_alias = false;
};

enum class SubrequestOutput : uint8_t {
  discard_body,  // only status and headers are of interest (auth_request, mirror)
  inline_body,   // into the parent's output at this place (addition, ssi)
  capture_body,  // kept in memory, up to subrequest_output_buffer_size
};

// One request and its response; also a subrequest, which shares variables and body with its main
// request. Made by the exchange, in whose arena its text lives; ends with it. Everything here is
// called on the loop's thread.
//
// Contract for handlers: after client_gone() turns true nothing that is sent matters; unwind soon.
class Request final : public conf::VariableSource {
 public:
  // --- what was received (never changes)
  const MessageHead& received() const { return *received_; }
  const HeaderList& headers() const { return received_->headers; }
  // Validated, lower case, without port; from the request line, else Host, else "".
  std::string_view host() const;
  const ConnectionFacts& connection() const;
  // The client's address: the connection's peer, unless a trusted peer named another (realip).
  const net::Address& client() const;
  void set_client(const net::Address& address);

  // --- what is in force
  CurrentTarget& current() { return current_; }
  const CurrentTarget& current() const { return current_; }
  const VirtualServer& server() const { return *server_; }
  const Location* location() const { return location_; }
  // Settings of the scope in force: the server's before find_config, then the location's, then
  // those of the last `if` that matched.
  const conf::Scope& scope() const { return *scope_; }
  template <class T>
  const T& settings() const {
    return scope_->get<T>();
  }
  template <class T>
  const T* own_settings() const {
    return scope_->own<T>();
  }
  void enter_scope(const conf::Scope& scope);  // rewrite's `if`, limit_except
  // A rewrite: `uri` is decoded and lives as long as the request. With look_up the location is
  // looked up again after the phase (rewrite, rewrite … last); without, it stays (rewrite … break).
  // Sets current().extension, .internal, .unchanged. Args are assigned by themselves
  // (current().args).
  void rewrite_uri(std::string_view uri, bool look_up);
  bool uri_changed() const { return uri_changed_; }
  void keep_location() { uri_changed_ = false; }  // the `break` directive
  // Handler of the content phase; a location's default is set at find_config (nginx's
  // content_handler).
  void set_content_handler(PhaseHandler handler) { content_handler_ = handler; }
  PhaseHandler content_handler() const { return content_handler_; }

  Worker& worker() { return *worker_; }
  const Graph& graph() const { return *graph_; }
  Arena& arena() { return *arena_; }
  // Rung on every change: output ready, body arrived, client gone, upstream …
  Event& event() { return event_; }

  // --- family
  bool is_main() const { return parent_ == nullptr; }
  Request& main() { return *main_; }
  Request* parent() { return parent_; }
  RequestBody& body() { return *body_; }
  // Before anybody asked for it: one that reads the other and says something else (decoders). In
  // the arena.
  void replace_body(RequestBody& body) { body_ = &body; }

  // --- response
  Response& response() { return response_; }
  const Response& response() const { return response_; }
  // Runs the head filters and queues the head; it leaves with the first data, a flush or the end.
  // False: header_only is set (HEAD, 304 …), no body may be sent and the response is complete.
  bool send_head();
  // Sends body data through the body filters. Always takes it. Afterwards, if !output_ready(), send
  // nothing more until event() rings and output_ready() is true again.
  void send(Chain&& data, bool last, bool flush = false);
  bool output_ready() const;
  // Suspends until output_ready(). False: nothing can be sent any more. (A client that has only
  // closed its direction: client_gone() says so.)
  Task<bool> wait_output();
  // Complete small response: head and body in one go. For `return`, error pages, stubs.
  PhaseResult respond(int status, std::string_view content_type, std::string_view body);
  void send_interim(int status, const HeaderList& headers);  // 100, 103
  void add_body_filter(BodyFilter* filter);
  bool has_body_filters() const { return first_filter_ != nullptr; }
  // 101: after send_head() with status 101 and response().upgraded, this takes the connection away
  // from its session (tunnel_handover.h). Renders the log lines; afterwards the handler unwinds
  // with PhaseResult::done() and uses nothing of the request. Null: the client is gone.
  std::unique_ptr<TunnelHandover> begin_tunnel();
  // A WebSocket over HTTP/2 (RFC 8441): no connection to take away. After send_head() with status
  // 101, if accepts_upgrade(), the bytes are relayed through body() and send() (stream_bridge.h).
  bool is_bridged() const;
  bool accepts_upgrade(const HeaderList& answer) const;
  // The response that was begun must not be seen (its upstream broke the rules before any of the
  // body): drops it if none of it has left. The handler then unwinds with an error.
  void withhold_response();
  bool client_gone() const;
  uint64_t number_on_connection() const;  // from 1 ($connection_requests)
  uint64_t bytes_sent() const;            // $bytes_sent
  uint64_t body_bytes_sent() const;       // $body_bytes_sent
  // nginx's r->keepalive: may the connection go on after this?
  void disable_keep_alive();
  bool keep_alive() const;
  // Its first bytes came with those of the request before ($pipe).
  bool pipelined() const { return pipelined_; }
  // The head was sent with Transfer-Encoding: chunked.
  bool sends_chunked() const { return sends_chunked_; }
  // $status: that of the error page's cause, or of the response; 0: none.
  int logged_status() const;
  bool completed() const { return completed_; }  // $request_completion: all was sent
  // Size of the received head, and all bytes received for this request ($request_length).
  uint64_t request_length() const;
  uint64_t started_at() const;   // Loop::now() time of the first byte ($request_time)
  int64_t started_wall() const;  // milliseconds since the epoch
  // limit_rate in force for this request, bytes per second, 0: none (X-Accel-Limit-Rate,
  // $limit_rate).
  void set_limit_rate(uint64_t rate);
  uint64_t limit_rate();

  // --- redirects
  // `uri` decoded, `args` raw. At most 10 a request (then 500: "rewrite or internal redirection
  // cycle …").
  PhaseResult redirect(std::string_view uri, std::string_view args);
  PhaseResult redirect_named(std::string_view name);  // "@name"
  // From a head filter: this response is not sent, `status` is, with its error page or own page.
  void replace_response(int status) { replaced_status_ = status; }
  // Ends with 301, 302, 303, 307 or 308 and this Location (made absolute as configured).
  PhaseResult redirect_client(int status, std::string_view location);
  // Starts a subrequest; it runs from the top level. The returned Request lives until the main
  // request ends. Null: too many (200 nested: cycle).
  Request* start_subrequest(std::string_view uri, std::string_view args, SubrequestOutput output);
  bool finished() const { return finished_; }  // a subrequest's response is complete
  const Chain& captured() const { return captured_; }
  // The status that the subrequest's response had at its end, error pages applied (auth_request); a
  // subrequest that failed without a response: its error status.
  int finish_status() const { return finish_status_; }

  // --- variables
  conf::Value variable(conf::VariableId id) override;
  char* allocate(size_t size) override { return arena_->text(size); }
  // Assigns a value that hides the variable's own (set, auth_request_set, captures).
  void set_variable(conf::VariableId id, conf::Value value);
  void forget_variable(conf::VariableId id);
  bool match(const conf::Pattern& pattern, std::string_view subject) override;
  // While set, $1 … $9 evaluate escaped for use in arguments (rewrite: what was decoded must not
  // become syntax).
  bool escape_captures = false;
  std::string_view capture(size_t number) const;  // "" when absent
  size_t capture_count() const;
  void forget_captures() { capture_count_ = 0; }

  // --- module state

  // One object per type and request, made on first use in the arena. peek() does not make it.
  template <class T>
  T& context();
  template <class T>
  T* peek();
  template <class T>
  void drop_context();
  // The same, but it stays through internal redirects. Ends with the request.
  template <class T>
  T& lasting_context();
  // What the upstream attempts recorded, for $upstream_*; null while there was none.
  UpstreamRecord* upstream_record = nullptr;
  // "http://127.0.0.1:8080/uri" of the attempt under way, for the log's context; empty: none.
  std::string_view log_upstream;

  // --- log
  // One line, with nginx's context appended: `, client: …, server: …, request: "…", …`.
  void log(Severity severity, std::string_view text, int error_number = 0);
  bool logs(Severity severity) const;
  // That context, for those who log when the request is gone (tunnels).
  std::string log_context() const;
  // "reading client request headers", "connecting to upstream", … (static text)
  void set_activity(const char* activity) { main_->activity_ = activity; }

  // --- for the runtime
  // By the exchange (parent null) and start_subrequest().
  Request(Exchange& exchange, Request* parent);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request();
  Exchange& exchange() { return *exchange_; }

 private:
  friend class Exchange;
  friend class PhaseEngine;
  friend class BodyFilter;
  friend class ClientBody;
  friend struct ErrorPages;
  friend struct Writer;

  // One object of a module, found by the address of its type's tag.
  struct ContextNode {
    const void* tag;
    void* object;
    ContextNode* next;
    bool lasting = false;
  };
  template <class T>
  static const void* context_tag() {
    static const char tag = 0;
    return &tag;
  }
  // The value of one variable of this main request and its subrequests.
  struct VariableCell {
    enum class State : uint8_t { unknown, cached, assigned };
    conf::Value value;
    State state = State::unknown;
  };
  // What waits in order behind a subrequest's inline output: data of this request, or a subrequest.
  struct Postponed {
    Request* child = nullptr;
    Chain data;
    bool last = false;
    bool flush = false;
    Postponed* next = nullptr;
  };
  // Where the phase engine stands.
  struct Position {
    uint8_t phase = 0;
    uint16_t handler = 0;
  };

  const ErrorLogTargets& error_log_targets() const;
  VariableCell* cells();
  void drop_contexts();  // but those that last
  void send_through(BodyFilter* filter, Chain&& data, bool last, bool flush);
  void after_filters(Chain&& data, bool last, bool flush);
  void output(Chain&& data, bool last, bool flush);
  void release_postponed();
  static void read_files(Chain& data);

  Exchange* exchange_;
  Worker* worker_;
  const Graph* graph_;
  Arena* arena_;
  MessageHead* received_ = nullptr;
  RequestBody* body_ = nullptr;
  Request* main_;
  Request* parent_;
  CurrentTarget current_;
  const VirtualServer* server_ = nullptr;
  const Location* location_ = nullptr;
  const conf::Scope* scope_ = nullptr;
  PhaseHandler content_handler_ = nullptr;
  Response response_;
  Event event_;
  Chain captured_;

  VariableCell* cells_ = nullptr;  // main only
  std::string_view* captures_ = nullptr;
  uint16_t capture_count_ = 0;
  uint16_t capture_capacity_ = 0;
  ContextNode* contexts_ = nullptr;
  const net::Address* client_ = nullptr;  // main only; null: the connection's peer
  BodyFilter* first_filter_ = nullptr;
  BodyFilter* last_filter_ = nullptr;

  // phases
  Position position_;
  Task<PhaseResult> task_;  // of the pending phase
  Deferred resume_;         // the task has finished, or a start from the top
  int access_status_ = 0;   // of access, with satisfy any
  int uri_changes_left_ = 11;
  int error_status_ = -1;    // replaces the status of the answer (error_page)
  int replaced_status_ = 0;  // a head filter wants this instead of the response
  bool sends_chunked_ = false;
  bool pipelined_ = false;
  int finish_status_ = 0;
  uint16_t depth_ = 0;  // of subrequests
  bool uri_changed_ = false;
  bool error_page_ = false;  // in one already, without recursion
  bool finished_ = false;
  bool completed_ = false;
  bool running_ = false;  // inside the phase engine
  bool post_action_ = false;
  bool filters_ran_ = false;
  bool last_sent_ = false;  // the end of the body was given to send()
  bool logged_ = false;
  SubrequestOutput subrequest_output_ = SubrequestOutput::discard_body;

  // output order (main and inline subrequests)
  Postponed* postponed_ = nullptr;
  Postponed* postponed_end_ = nullptr;
  Request* next_subrequest_ = nullptr;  // of the exchange, newest first

  uint64_t limit_rate_ = 0;
  bool limit_rate_set_ = false;
  const char* activity_ = "";
};

template <class T>
T* Request::peek() {
  for (ContextNode* node = contexts_; node != nullptr; node = node->next) {
    if (node->tag == context_tag<T>()) return static_cast<T*>(node->object);
  }
  return nullptr;
}

template <class T>
T& Request::context() {
  if (T* found = peek<T>()) return *found;
  auto* node = arena_->make<ContextNode>();
  *node = ContextNode{context_tag<T>(), arena_->make<T>(), contexts_};
  contexts_ = node;
  return *static_cast<T*>(node->object);
}

template <class T>
T& Request::lasting_context() {
  T& object = context<T>();
  for (ContextNode* node = contexts_; node != nullptr; node = node->next) {
    if (node->tag == context_tag<T>()) node->lasting = true;
  }
  return object;
}

template <class T>
void Request::drop_context() {
  for (ContextNode** at = &contexts_; *at != nullptr; at = &(*at)->next) {
    if ((*at)->tag == context_tag<T>()) {
      *at = (*at)->next;
      return;
    }
  }
}

}  // namespace weir::http
