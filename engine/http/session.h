#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "confparse/ref.h"
#include "engine/base/pooled.h"
#include "engine/event/deferred.h"
#include "engine/event/timer.h"
#include "engine/http/codec.h"
#include "engine/http/connection_facts.h"
#include "engine/log/severity.h"
#include "engine/net/stream.h"

namespace weir::tls {
class ServerLayer;
}

namespace weir::net {
struct PassedConnection;
}

namespace weir {
class Generation;
struct Worker;
}  // namespace weir

namespace weir::http {

class Exchange;
class Session;
class SessionHandshake;
struct CoreSettings;
struct Listener;
struct TunnelHandover;

// Makes the codec of an accepted connection (h1::make_server_codec; tests bring their own). The
// limits stay at one place in the session, which refreshes them when the configuration changes.
using CodecFactory = std::unique_ptr<Codec> (*)(CodecReceiver&, const HeadLimits&);

// The client connections of one worker. Made after the fork with the Worker, destroyed before it.
class Sessions {
 public:
  explicit Sessions(Worker& worker, CodecFactory factory = nullptr);
  ~Sessions();  // closes all
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // A connection accepted (non-blocking, close-on-exec) on resource `resource` of the current
  // generation (an index into Resources::listeners). Takes the descriptor in any case. Counts in
  // Worker::connections.
  void accept(int descriptor, const net::Address& peer, size_t resource);
  // One that a listener of stream passes on, with its TLS if that has been ended there.
  void accept(net::PassedConnection& connection, size_t resource);

  // After Worker::draining was set: closes idle connections; the others answer with "Connection:
  // close" and go. on_empty is called when the last is gone (also at once).
  void drain();
  // After Worker::generation was replaced; `before` is the one it replaced. Connections keep their
  // listener by its address; those whose listener is gone close when they are idle.
  void generation_changed(const Generation& before);
  // Ends what all of them are doing, as if the clients had gone (worker_shutdown_timeout): handlers
  // unwind and requests are logged in the next rounds of the loop.
  void give_up_all();
  // Closes all at once, with what they are doing; logs nothing.
  void close_all();

  // Closes idle connections to make room: an eighth of them, at most 32, those first whose time is
  // up soonest. Not from inside an idle session. How many it closed.
  size_t close_some_idle();

  size_t count() const { return count_; }
  Worker& worker() { return worker_; }
  std::function<void()> on_empty;

 private:
  friend class Session;
  void add(Session& session);
  void remove(Session& session);

  Worker& worker_;
  CodecFactory factory_;
  Session* first_ = nullptr;
  size_t count_ = 0;
};

// One client connection. Reads when it is told to, feeds its codec, hands what the codec tells to
// exchanges by stream id, and writes what the codec has for the peer; knows nothing else of
// requests. Idle it holds no buffer, no arena, no coroutine. Destroyed from the loop's top level
// only: whatever ends it marks it, and settle() does the rest.
class Session final : public SocketHandler, public CodecReceiver {
 public:
  Session(Sessions& sessions, const net::Address& peer, size_t resource);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // --- for exchanges
  Codec& codec() { return *codec_; }
  Worker& worker() { return sessions_.worker(); }
  const ConnectionFacts& facts() const { return *facts_; }
  tls::ServerLayer* tls() { return tls_; }  // null: plain
  net::Stream& stream() { return *stream_; }
  // Bytes written to the peer so far, and the position that the output queued now will reach.
  uint64_t written() const { return written_; }
  uint64_t queued() const { return written_ + codec_->output().bytes(); }
  size_t unwritten() const { return codec_->output().bytes(); }
  // The output should leave: at the end of the current callback, in one write.
  void flush();
  // Something changed that settle() should look at, after the current callback.
  void wake();
  // Writes now what goes.
  void write_some();
  bool broken() const { return broken_; }
  // The peer takes nothing any more: all exchanges end.
  void give_up();
  // The peer has closed its direction, or the connection is broken. TLS's farewell alone is no
  // leave: a client may have said all, and wait for the answer.
  bool peer_closed() const {
    return broken_ || (input_ended_ && tls_ == nullptr) ||
           (stream_ && stream_->socket().peer_closed());
  }
  bool multiplexed() const { return multiplexed_; }
  // Takes the connection away for a tunnel; the session ends when its exchange is over.
  void hand_over(TunnelHandover& to);
  // The exchange belongs to a tunnel now, whose log line it is to write.
  void forget(Exchange& exchange);
  bool is_handed_over() const { return handed_over_; }

 private:
  friend class Sessions;
  using ExchangeMap = std::map<StreamId, Exchange*, std::less<StreamId>,
                               PooledAllocator<std::pair<const StreamId, Exchange*>>>;
  enum class State : uint8_t {
    proxy_header,  // reading the PROXY protocol header
    handshake,     // TLS, from the first byte on
    idle,          // before the first byte, or between requests
    open,          // a message is being read or answered
    lingering,     // our side is shut; reading and dropping
    closed,
  };

  // SocketHandler
  void on_readable() override;
  void on_writable() override;
  // CodecReceiver
  Arena& on_begin(StreamId stream) override;
  void on_interim(StreamId stream, MessageHead& head) override;
  void on_head(StreamId stream, MessageHead& head) override;
  void on_data(StreamId stream, Slice data) override;
  void on_trailers(StreamId stream, HeaderList& trailers) override;
  void on_end(StreamId stream) override;
  void on_upgraded(StreamId stream) override;
  void on_reset(StreamId stream, const Reset& reset) override;
  void on_goaway(StreamId last_processed) override;
  void on_writable(StreamId stream) override;
  void on_connection_error(const char* reason) override;
  uint64_t now() const override;

  static constexpr size_t kNoResource = ~size_t{0};

  static void settle_later(void* self);
  static void timer_fired(void* self);
  bool start(int descriptor, std::unique_ptr<net::Layer> layer = nullptr);
  bool settle();
  bool end_exchange(Exchange& exchange);
  Exchange* find_over();
  bool is_drained() const;
  bool may_be_reused() const;
  bool wants_input() const;
  bool read_once();
  void take_input(Slice bytes);
  void feed(Slice& bytes);
  bool feed_unread();
  bool read_proxy_header(Slice& bytes);
  State first_state() const;
  bool read_proxy_header_before_tls();
  bool shake_hands();
  bool begin_handshake();
  bool log_tls_failure(const char* activity);
  bool policy_changed(const std::string& before) const;
  bool prepare_for_request();
  bool look_up_listener();
  void begin_head();
  void tell_end();
  void check_peer();
  void drop_input();
  // --- HTTP/2 (session_http2.cc)
  bool may_begin_http2() const;
  bool settle_protocol(Slice& bytes);
  void begin_http2();
  void feed_text(std::string_view text);
  void settle_input();
  void tell_written();
  void end_stream(Exchange& exchange);
  bool leave_if_over();
  void linger();
  bool say_goodbye();
  void set_no_delay();
  void go_idle(uint64_t timeout, uint64_t minimum, bool no_delay);
  void begin_lingering(uint64_t time, uint64_t timeout);
  void break_connection(int error);
  void close(bool with_reset);
  void on_timer();
  void drain();
  void move_to(size_t resource);
  void destroy();
  bool has_exchanges() const;
  Exchange* find(StreamId stream) const;
  void add_exchange(StreamId stream, Exchange* exchange);
  void remove_exchange(StreamId stream);
  template <class Visit>
  void for_each_exchange(Visit visit);
  void log_farewell();
  void log(Severity severity, std::string text, int error_number = 0, bool with_context = true);

  Sessions& sessions_;
  Session* next_ = nullptr;
  Session** link_ = nullptr;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<ConnectionFacts> facts_;
  std::unique_ptr<Codec> codec_;
  tls::ServerLayer* tls_ = nullptr;  // the stream's; null: plain
  std::unique_ptr<SessionHandshake> handshake_;
  Timer timer_;  // head, idle, lingering
  Deferred settle_;
  std::unique_ptr<Slice> unread_;  // what the codec has not taken yet
  // Of a PROXY protocol header or an HTTP/2 preface that is not complete.
  std::unique_ptr<std::string> proxy_text_;
  HeadLimits limits_;
  const Listener* listener_ = nullptr;  // of generation number generation_
  uint64_t generation_ = 0;
  size_t resource_;
  // One exchange stands here; more (HTTP/2) in the map.
  Exchange* exchange_ = nullptr;
  StreamId exchange_stream_ = 0;
  StreamId turn_ = 0;  // tell_written() begins behind it
  std::unique_ptr<ExchangeMap> more_exchanges_;
  uint64_t written_ = 0;
  uint64_t deadline_ = 0;  // lingering: its end; idle: not closed by a drain before
  uint32_t lingering_timeout_ = 0;
  uint32_t dropped_ = 0;     // bytes, while lingering
  uint32_t head_bytes_ = 0;  // of a head that is not complete
  State state_ = State::idle;
  bool flush_wanted_ : 1 = false;
  bool write_blocked_ : 1 = false;
  bool input_ended_ : 1 = false;  // end of stream was read
  bool end_told_ : 1 = false;     // and the codec knows
  bool broken_ : 1 = false;
  bool no_delay_set_ : 1 = false;
  bool pipelined_ : 1 = false;  // the next request has come with the last
  bool handed_over_ : 1 = false;
  bool settling_ : 1 = false;
  bool again_ : 1 = false;  // woken while settling
  bool timed_out_ : 1 = false;
  bool multiplexed_ : 1 = false;   // several exchanges at once
  bool head_begun_ : 1 = false;    // and nobody times it yet
  bool may_be_http2_ : 1 = false;  // until the first bytes tell
};

template <class Visit>
void Session::for_each_exchange(Visit visit) {
  if (exchange_ != nullptr) visit(*exchange_);
  if (more_exchanges_) {
    for (auto& [stream, exchange] : *more_exchanges_) visit(*exchange);
  }
}

}  // namespace weir::http
