#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "confparse/ref.h"
#include "engine/base/arena.h"
#include "engine/event/timer.h"
#include "engine/generation.h"
#include "engine/http/client_body.h"
#include "engine/http/codec.h"
#include "engine/http/request.h"
#include "engine/net/stream.h"

namespace weir::http {

class Session;
struct CoreSettings;
struct Listener;
struct TunnelHandover;
struct TunnelEnd;
struct FileJob;

// One request of a client and its response, from the first byte of the head to the log phase. Owns
// the arena, the requests in it (main and subrequests), and the generation they began with. Made by
// the session when a message begins, destroyed by it when over() says so; from a free list.
class Exchange {
 public:
  Exchange(Session& session, StreamId stream, Ref<Generation> generation, const Listener& listener);
  // For a request of our own that no client sent (a health check): what it would answer goes
  // nowhere, and no log handler sees it. The facts and the listener outlive it.
  Exchange(Worker& worker, const ConnectionFacts& facts, Ref<Generation> generation,
           const Listener& listener);
  // Makes that request look as if it had come to this location, with no body. `head` is in the
  // arena.
  void begin_own(MessageHead& head, const Location& location);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  static void* operator new(size_t size);
  static void operator delete(void* memory, size_t size);

  Arena& arena() { return arena_; }
  Request& main() { return *main_; }
  // Before there is a request: one without a head, for the variables of a TLS handshake.
  Request& stand_in(const VirtualServer& server);
  StreamId stream() const { return stream_; }
  Session* session() { return session_; }
  Worker& worker() { return worker_; }
  const Listener& listener() const { return listener_; }
  Generation& generation() { return *generation_; }
  const ConnectionFacts& facts() const { return *facts_; }
  ClientBody& body() { return body_; }

  // --- told by the session, from inside the codec's feed: nothing runs yet
  void on_head(MessageHead& head);
  void on_data(Slice data);
  void on_trailers(HeaderList& trailers);
  void on_end();
  void on_reset(const Reset& reset);
  // --- told by the session, from its top level
  void settle();               // goes on with what the codec told
  void on_written();           // the output moved
  void on_window();            // the peer's window opened
  void peer_gone(int status);  // the connection is of no use any more: status for the log
  void peer_left();            // the client has closed its direction
  void head_timed_out(MessageHead* head, const char* reason);
  // Bytes of this request that came, framing included.
  void count_received(uint64_t bytes) { received_ += bytes; }
  uint64_t received() const { return received_; }
  void write_stalled();  // a write would block: send_timeout runs

  // All is over: logged, and nothing waits. Then the session asks what follows.
  bool over();
  bool may_keep_alive() const;
  bool wants_lingering() const;
  bool wants_reset() const { return reset_; }
  bool head_received() const { return head_received_; }
  bool input_ended() const { return input_ended_; }
  // Nothing can be sent any more.
  bool is_gone() const { return gone_; }
  // That, or the client has closed its direction, by which clients cancel.
  bool has_left() const { return left_; }
  const CoreSettings& settings() const { return main_->settings<CoreSettings>(); }

  // --- for requests
  uint64_t number() const { return number_; }
  void send_head(const MessageHead& head, bool end);
  void send_interim(const MessageHead& head);
  void write(Chain&& data, bool last, bool flush);
  bool output_ready() const;
  void request_finished(Request& request);
  // Ends without (the rest of) a response: 444, 499, broken halves. The status counts if nothing
  // was sent yet.
  void terminate(int status);
  void withhold_response();
  void ring_all();
  void credit(size_t bytes);  // body bytes were disposed of
  void client_too_slow();     // with its body: 408, and a reset if so configured
  bool fits_head_buffer(uint64_t body_bytes) const;
  void widen_window();  // of a body that is stored or dropped as it comes
  void want_body();     // somebody reads the body: continue, timers
  bool begin_tunnel(TunnelHandover& to);
  // RFC 8441: one stream of the connection is to become a tunnel; the request looks like that of a
  // WebSocket client of HTTP/1.1.
  bool is_bridged() const { return !bridge_key_.empty(); }
  // Is this an upstream's right answer to it?
  bool accepts_upgrade(const HeaderList& answer) const;
  void finish_tunnel(const TunnelEnd& end);
  uint64_t bytes_sent() const;
  uint64_t body_bytes_sent() const;
  void apply_location();  // after the scope changed: keep-alive, limits
  void disable_keep_alive() { keep_alive_ = false; }
  // False in the log phase: what nginx shows there.
  bool keep_alive() const { return keep_alive_ && !logged_; }
  void disable_lingering() { lingering_ = false; }
  void mark_pipelined() { main_->pipelined_ = true; }
  void adopt(Request& subrequest);
  void wake();

 private:
  friend class Request;
  friend class ClientBody;
  friend struct ErrorPages;
  static constexpr size_t kOutputLimit = 64 * 1024;
  static constexpr uint32_t kProtocolError = 1;  // RFC 9113 section 7
  static constexpr uint32_t kInternalError = 2;

  Exchange(Session* session, Worker& worker, const ConnectionFacts& facts, StreamId stream,
           Ref<Generation> generation, const Listener& listener);
  void begin_request();
  void begin_bridged();
  bool send_bridged_head(const MessageHead& head, bool end);
  void take_refused_head();
  void log_ignored_fields();
  void choose_server();
  int refused_by_tls();
  bool multiplexed() const;  // one of several on its connection
  void watch_window();
  void push_output();
  bool push_piece();
  bool take_piece(Chain& piece, uint64_t allowed, bool send_files);
  bool read_in_thread(const Slice& slice, Ref<Block> block, net::FileRead& read);
  void file_read();
  void abandon_file_read();
  uint64_t rate_allows();
  void count_given(size_t bytes);
  void end_output();
  void run_log_phase();
  bool run_post_action();
  bool requests_finished();
  bool discard_is_over();
  void restart_discard_timer();
  void drop_output();
  static void send_timed_out(void* self);
  static void delay_over(void* self);

  Session* session_;  // null: handed over to a tunnel
  Worker& worker_;
  const ConnectionFacts* facts_;  // the session's, then the tunnel's
  StreamId stream_;
  Ref<Generation> generation_;
  const Listener& listener_;
  std::optional<Request> main_;  // before the arena: what modules made there goes first
  Arena arena_;
  ClientBody body_;
  Chain pending_;  // data that the codec has not got yet
  Request* subrequests_ = nullptr;
  Request* writing_ = nullptr;  // whose output goes out now (postpone order)
  MessageHead* head_ = nullptr;
  std::shared_ptr<FileJob> file_job_;  // a read under way
  Timer send_timer_;
  Timer delay_timer_;

  uint64_t number_;  // of this request on its connection, from 1
  uint64_t started_at_;
  int64_t started_wall_;
  uint64_t written_before_ = 0;  // Session::written() when this began
  uint64_t head_bytes_sent_ = 0;
  uint64_t given_ = 0;         // bytes given to the codec, for limit_rate
  uint64_t end_position_ = 0;  // Session::written() at which the response is out
  uint64_t final_sent_ = 0;    // after the session is gone
  int reset_status_ = 0;       // the head was refused with this
  const char* reset_reason_ = "";
  std::string_view bridge_key_;  // Sec-WebSocket-Key that we made for the client; empty: none

  bool misdirected_ = false;  // TLS named another server, and this one verifies clients
  bool head_received_ = false;
  bool start_pending_ = false;
  bool started_ = false;
  bool input_ended_ = false;
  bool head_sent_ = false;
  bool pending_last_ = false;
  bool response_ended_ = false;
  bool gone_ = false;     // the client has left: nothing that is sent matters
  bool aborted_ = false;  // ends after what was queued, without the rest
  bool reset_ = false;
  bool keep_alive_ = true;
  bool keeps_connection_ = false;  // keep_alive_ as it was before the log phase
  uint64_t received_ = 0;
  bool lingering_ = false;
  bool logged_ = false;
  bool tunnel_ = false;
  bool post_action_run_ = false;
  bool discarding_ = false;
  mutable bool was_full_ = false;  // somebody was told to wait for room
  bool left_ = false;
  bool limit_after_known_ = false;
  uint64_t limit_after_ = 0;
  uint64_t stalled_at_ = 0;  // given_, when send_timer_ began
  uint64_t discard_deadline_ = 0;
};

}  // namespace weir::http
