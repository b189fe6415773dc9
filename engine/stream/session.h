#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "confparse/pattern.h"
#include "confparse/ref.h"
#include "confparse/variables.h"
#include "engine/base/pooled.h"
#include "engine/base/slice.h"
#include "engine/event/deferred.h"
#include "engine/event/timer.h"
#include "engine/generation.h"
#include "engine/log/severity.h"
#include "engine/net/passed_connection.h"
#include "engine/net/proxy_protocol.h"
#include "engine/net/stream.h"
#include "engine/stream/graph.h"
#include "engine/stream/memory.h"

namespace weir {
struct Worker;
}

namespace weir::stream {

class Session;
class Sessions;

// What serves a session once the phases have come to content: made by the content handler
// (Session::set_content), destroyed with the session, before its client connection.
class Content {
 public:
  virtual ~Content() = default;
  // The rest of an error line's context: ", upstream: …, bytes from/to client: …".
  virtual void append_context(std::string&) {}
  // Brings the counts of the session (and what $upstream_… show) up to date.
  virtual void update() {}
  // Does it only relay by now, so that it needs nothing of the configuration any more?
  virtual bool only_relays() const { return false; }
  // A further datagram of the client; valid during the call. False: it is lost, and not counted.
  virtual bool on_datagram(std::string_view) { return false; }
};

// The client's end of a datagram session (datagrams.h).
class DatagramClient {
 public:
  virtual ~DatagramClient() = default;
  // Sends one datagram to the client; lost where the kernel takes no more, as datagrams are.
  virtual void send(const char* data, size_t size) = 0;
  // The datagram that began the session, valid while the phases run at its arrival.
  virtual std::string_view first_datagram() const = 0;
  // The client's next datagram begins a session of its own.
  virtual void detach() = 0;
  // The session is destroyed: the last call.
  virtual void session_gone() = 0;
};

// One client of stream: a connection, or the datagrams of one address. Goes through the phases of
// the configuration it began with, then is served by its Content, then logged. Lives in the
// worker's table (sessions.h) and destroys itself from the loop's top level after finish().
//
// Small, because thousands may be idle: what modules keep is taken from `allocate`, in pieces that
// fit.
class Session final : public conf::VariableSource, public SocketHandler, public Pooled {
 public:
  Session(Sessions& sessions, const net::Address& peer, size_t resource);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // --- the client ---
  Worker& worker() { return worker_; }
  // The configuration, until let_go(): contents that relay use nothing of it.
  const Graph& graph() const { return *generation_->stream; }
  const Listener& listener() const { return *listener_; }
  const Server& server() const { return *server_; }
  // By name (SNI, preread): the listener's server of that name is used from here on.
  void choose_server(std::string_view name);
  template <class T>
  const T& settings() const {
    return server_->scope->get<T>();
  }
  template <class T>
  const T* own_settings() const {
    return server_->scope->own<T>();
  }
  bool is_datagram() const { return datagram_ != nullptr; }
  net::Stream& client() { return stream_; }
  DatagramClient& datagram_client() { return *datagram_; }
  const net::Address& peer() const { return peer_; }  // $remote_addr: realip may change it
  void set_peer(const net::Address& peer) { peer_ = peer; }
  const net::Address& local();  // from the socket, on first use
  uint64_t serial() const { return serial_; }
  uint64_t started_at() const { return started_at_; }  // Loop::now()
  int64_t started_wall() const { return started_wall_; }
  const net::ProxyHeader* proxy_header() const { return proxy_header_.get(); }

  // --- counts and outcome ---
  uint64_t received = 0;  // $bytes_received
  uint64_t sent = 0;      // $bytes_sent
  int status() const { return status_; }

  // --- phases ---
  // After a handler's wait: goes on with the next phase.
  void resume();
  // It is over with this $status: logged and destroyed when the loop comes to it. Once.
  void finish(int status);
  bool finished() const { return finished_; }
  // Of datagrams: the client's next one is not for this session.
  void detach();
  bool is_detached() const { return detached_; }
  // The content only relays from here on.
  void relaying();
  // The configuration it began with is not the one in force any more: lets go of it, if it only
  // relays, so that sessions of days do not keep it.
  void let_go();
  // The client's connection goes to somebody else; finish() must follow.
  net::PassedConnection hand_over();
  uint32_t passes() const { return passes_; }
  // A further datagram of its client.
  void deliver(std::string_view datagram);
  void set_content(std::unique_ptr<Content> content) { content_ = std::move(content); }
  Content* content() { return content_.get(); }
  template <class T>
  T* content_as() {
    return static_cast<T*>(content_.get());
  }
  // In the preread phase: what the client has sent so far. Only looked at: it is still to be read
  // from the stream. Of datagrams: the first one.
  std::string_view preread() const;
  // Reads and drops what preread() has shown: for who answers without reading. (Closing over unread
  // bytes would reset the connection, and with that take the answer back.)
  void discard_preread();

  // --- logging ---
  // What is being done, as the log says it: "connecting to upstream". Static text, or null.
  void set_activity(const char* activity) { activity_ = activity; }
  bool wants_log(Severity severity) const;
  // text (errno) while ACTIVITY, client: …, server: …, …
  void log(Severity severity, std::string_view text, int error_number = 0);
  // Without the context.
  void log_plain(Severity severity, std::string_view text);

  // --- variables ---
  conf::Value variable(conf::VariableId id) override;
  bool match(const conf::Pattern& pattern, std::string_view subject) override;
  char* allocate(size_t size) override { return memory_.allocate(size, 1); }
  std::string_view copy(std::string_view text) { return memory_.copy(text); }
  void set_variable(conf::VariableId id, conf::Value value);
  std::string_view capture(size_t number) const {
    return number < capture_count_ ? captures_[number] : std::string_view();
  }
  size_t capture_count() const { return capture_count_; }

  // What a module keeps for this session: one object of each type, made on first use.
  template <class T>
  T& context() {
    if (T* found = peek<T>()) return *found;
    return *static_cast<T*>(memory_.keep(&kContextKey<T>,
                                         new (memory_.allocate(sizeof(T), alignof(T))) T(),
                                         [](void* object) { static_cast<T*>(object)->~T(); }));
  }
  template <class T>
  T* peek() {
    return static_cast<T*>(memory_.find(&kContextKey<T>));
  }

  // SocketHandler, until the content takes the stream over.
  void on_readable() override;
  void on_writable() override {}

 private:
  friend class Sessions;
  template <class T>
  static inline char kContextKey = 0;
  enum class State : uint8_t { proxy_header, phases, prereading, content };

  struct Cell {
    conf::VariableId id;
    conf::Value value;
    Cell* next;
  };

  // What is left of the configuration when it was let go.
  struct Remains {
    std::shared_ptr<const ErrorLogTargets> error_log;
    std::string listener_text;
    std::vector<std::unique_ptr<LateLog>> lines;
    std::shared_ptr<const void> log_use;  // Generation::log_use
  };
  const ErrorLogTargets& error_log() const;

  // False: nothing came of it; the caller destroys the session.
  bool start(int descriptor);
  bool start_passed(net::PassedConnection& connection);
  bool start_datagram(DatagramClient& client, const net::Address& local);
  bool find_listener();
  void begin();
  void run_phases();
  // The handlers of the phase under way, from handler_ on. False: waiting, or over.
  bool run_handlers();
  // False: over.
  bool preread_more(bool& grown);
  void read_proxy_header();
  // Looks at what has come, up to `limit` bytes, in preread_. False: nothing to go on with.
  bool peek(size_t limit);
  Cell* find_cell(conf::VariableId id);
  void set_cell(conf::VariableId id, conf::Value value);
  static void timer_fired(void* self);
  static void end(void* self);

  Sessions& sessions_;
  Worker& worker_;
  Ref<Generation> generation_;
  const Listener* listener_ = nullptr;
  const Server* server_ = nullptr;
  net::Stream stream_;
  DatagramClient* datagram_ = nullptr;
  uint64_t serial_;
  uint64_t started_at_;
  int64_t started_wall_;
  net::Address peer_;
  net::Address local_;
  std::unique_ptr<net::ProxyHeader> proxy_header_;
  Timer timer_;
  Deferred end_;
  const char* activity_ = nullptr;
  Ref<Block> preread_;
  uint32_t preread_size_ = 0;
  uint16_t handler_ = 0;
  State state_ = State::phases;
  Phase phase_ = Phase::post_accept;
  bool finished_ = false;
  bool detached_ = false;
  uint8_t passes_ = 0;
  uint16_t capture_count_ = 0;
  uint16_t capture_capacity_ = 0;
  int status_ = 0;
  size_t resource_;
  Memory memory_;
  Cell* cells_ = nullptr;
  std::string_view* captures_ = nullptr;
  std::unique_ptr<Content> content_;
  std::unique_ptr<Remains> remains_;
  Session* next_ = nullptr;
  Session** link_ = nullptr;
};

}  // namespace weir::stream
