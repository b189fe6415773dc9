#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/arena.h"
#include "engine/base/slice.h"
#include "engine/http/message.h"

namespace weir::http {

// HTTP/1: counts the exchanges of a connection (1, 2, …). HTTP/2: the codec's handle of a stream,
// of use until forget(); never 0.
using StreamId = uint32_t;

enum class Role : uint8_t { server, client };

// Why a stream ended early.
struct Reset {
  enum class Cause : uint8_t {
    malformed,   // the peer broke the protocol: `status` is what a server answers (400, 414, 431,
                 // 494, 501, 505 …)
    peer_reset,  // RST_STREAM, or the connection closed in the middle of a message
    refused,     // not processed by the peer at all: safe to retry anywhere
    cancelled,   // we did
    internal,
  };
  Cause cause = Cause::internal;
  bool retry_safe = false;
  int status = 0;
  uint32_t code = 0;  // HTTP/2 error code
  // nginx's words for the log: "client sent invalid method while reading client request line".
  // Static or in the arena of the exchange.
  const char* reason = "";
  MessageHead* head =
      nullptr;  // server role, malformed: what was read, for the access log; else null
};

// What a codec tells, in order, for each stream:
//
//   on_begin  (on_interim)*  on_head  on_data*  (on_trailers)?  on_end
//                                     └─ on_upgraded: what follows is raw data, both directions
//   on_reset may come at any time after on_begin (server role: also before, for a malformed head,
//   in which case on_begin has been called) and is the last one.
//
// Called from inside Codec::feed and Codec::end_of_input only. The receiver may call the codec's
// send functions from inside, but not feed(). Receivers that must stop reading return credit late.
class CodecReceiver {
 public:
  // A message begins. The returned arena holds the head's text and lives until the stream's
  // exchange has ended in both directions. In the client role: the arena given to send_head's
  // exchange.
  virtual Arena& on_begin(StreamId stream) = 0;
  virtual void on_interim(StreamId stream,
                          MessageHead& head) = 0;                // 1xx other than 101, client role
  virtual void on_head(StreamId stream, MessageHead& head) = 0;  // head is in the arena
  virtual void on_data(StreamId stream, Slice data) = 0;
  virtual void on_trailers(StreamId stream, HeaderList& trailers) = 0;
  virtual void on_end(StreamId stream) = 0;
  virtual void on_upgraded(StreamId stream) = 0;
  // Client role, one stream at a time: behind on_end, from the same feed(), more came than the
  // response has; it is dropped, and the connection is of no more use. Static, in nginx's words.
  virtual void on_surplus(StreamId /*stream*/, const char* /*what*/) {}
  virtual void on_reset(StreamId stream, const Reset& reset) = 0;
  virtual void on_goaway(StreamId last_processed) = 0;
  virtual void on_writable(StreamId stream) = 0;  // HTTP/2: window opened

  // --- connections with several streams; the rest need not know
  // Client role: what can_open_stream() says may have changed.
  virtual void on_settings() {}
  virtual void on_pong() {}  // the answer to send_ping()
  // The connection is over: every open stream gets its on_reset after this. Static text, in nginx's
  // words. output() may hold a farewell.
  virtual void on_connection_error(const char* /*reason*/) {}
  // Milliseconds of a clock that never goes back, for limits of rates.
  virtual uint64_t now() const { return 0; }

 protected:
  ~CodecReceiver() = default;
};

// Bytes ↔ events for one connection, in one role. Owns no socket and no timer. What it wants to
// send is appended to output(); the connection writes that when the current callback is over, and
// stops feeding while too much of it waits.
class Codec {
 public:
  virtual ~Codec() = default;

  // Takes bytes; returns how many it used. Fewer than given means: paused. HTTP/1 pauses at the end
  // of a message until the exchange is over (next_exchange), and while a receiver owes credit. The
  // caller keeps the rest and feeds it again. The slice's block may be kept (data events view it);
  // head text is copied to the arena.
  virtual size_t feed(const Slice& bytes) = 0;
  // The peer closed its direction: completes until_close bodies, resets unfinished streams.
  virtual void end_of_input() = 0;
  // Credit: the receiver has disposed of `bytes` of on_data.
  virtual void consumed(StreamId stream, size_t bytes) = 0;

  // --- sending. Order per stream: interim* head data* trailers? with end on the last.
  //
  // Client role: opens a stream and returns its id (0: none can be opened now).
  // `arena` is handed to on_begin of the response. Server role: `stream` is the request's.
  virtual StreamId open_stream(Arena& arena) = 0;
  virtual void send_interim(StreamId stream, const MessageHead& head) = 0;
  // `end`: no body follows. Text of the head is copied to the output.
  virtual void send_head(StreamId stream, const MessageHead& head, bool end) = 0;
  // Moves bytes out of `data` as far as the peer's window allows (HTTP/1: all).
  virtual void send_data(StreamId stream, Chain& data, bool end) = 0;
  virtual void send_trailers(StreamId stream, const HeaderList& trailers) = 0;  // ends the stream
  virtual void send_reset(StreamId stream, uint32_t code) = 0;
  // Polite end: no more streams (Connection: close with the next answer; GOAWAY).
  virtual void finish_connection() = 0;

  // --- state
  virtual Chain& output() = 0;
  // HTTP/1: may the connection be used again after the streams so far (keep-alive both ways, bodies
  // complete)? HTTP/2: no GOAWAY seen or sent, ids left.
  virtual bool reusable() const = 0;
  virtual bool idle() const = 0;  // no stream open and no partial head held
  // HTTP/1: the exchange is over on our side too; parsing of the next message may begin.
  virtual void next_exchange() = 0;
  // Frees every buffer that an idle connection does not need.
  virtual void release_memory() = 0;

  // --- several streams (HTTP/2). A codec with one leaves these as they are.
  virtual bool multiplexes() const { return false; }
  // Client role: would open_stream() give a stream now? (The peer's limit, GOAWAY, ids.)
  virtual bool can_open_stream() const { return idle() && reusable(); }
  // Streams that are open or not yet forgotten.
  virtual size_t stream_count() const { return idle() ? 0 : 1; }
  // The receiver is done with the stream: nothing is told of it any more. One that has not ended is
  // reset: NO_ERROR when our side has ended, else CANCEL (client) or INTERNAL_ERROR (server).
  virtual void forget(StreamId /*stream*/) {}
  // Bytes on the wire for the stream so far, frames and all; until forget().
  virtual uint64_t stream_bytes(StreamId /*stream*/) const { return 0; }
  // The peer's window keeps what send_data() left.
  virtual bool is_blocked(StreamId /*stream*/) const { return false; }
  virtual void send_ping() {}
  // Somebody takes the stream's body as fast as it comes: its window may be large.
  virtual void widen_window(StreamId /*stream*/) {}
  // Nothing more will be read or sent: close when the output is out.
  virtual bool wants_close() const { return false; }
};

// Limits of received heads (nginx's directives, per listener's default server until the virtual
// server is known).
struct HeadLimits {
  uint32_t first_buffer = 1024;  // client_header_buffer_size
  uint32_t buffer_count = 4;     // large_client_header_buffers
  uint32_t buffer_size = 8192;
  uint32_t max_headers = 1000;     // max_headers
  bool ignore_invalid = true;      // ignore_invalid_headers
  bool allow_underscores = false;  // underscores_in_headers
};

}  // namespace weir::http
