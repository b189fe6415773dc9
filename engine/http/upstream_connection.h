#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/async/event.h"
#include "engine/base/slice.h"
#include "engine/event/deferred.h"
#include "engine/http/codec.h"
#include "engine/net/connector.h"
#include "engine/net/stream.h"
#include "engine/upstream/runtime.h"

namespace weir {
struct Worker;
}
namespace weir::tls {
class ClientLayer;
}

namespace weir::http {

class UpstreamConnection;

// One use of an upstream connection: a lease of one of its streams, and the mailbox that the
// attempt looks at after its bell rang. Owned by the attempt, in the request's arena.
struct UpstreamExchange {
  UpstreamExchange(Event& event, Arena& arena) : event(event), arena(arena) {}
  UpstreamExchange(const UpstreamExchange&) = delete;
  UpstreamExchange& operator=(const UpstreamExchange&) = delete;
  // What was not released is cancelled.
  ~UpstreamExchange();
  Event& event;
  Arena& arena;
  StreamId stream = 0;           // 0: none yet
  bool handshaking = false;      // TCP is connected, TLS is not
  bool connected = false;        // also of TLS, and its turn has come
  int error = 0;                 // errno of connect, read or write
  const char* failed_call = "";  // "connect()", "recv()", "writev()"
  // What TLS says of it; null: nothing. The connection's.
  const net::LayerFailure* failure = nullptr;
  std::vector<MessageHead*> interim;
  MessageHead* head = nullptr;
  HeaderList* trailers = nullptr;
  Chain inbox;                    // body bytes not taken yet
  bool ended = false;             // the response is complete
  const char* surplus = nullptr;  // what came behind it, for the log
  bool upgraded = false;
  bool write_failed = false;  // the peer takes no more; what it said before still counts
  bool closed = false;        // the peer closed, or reading failed: nothing more comes
  bool was_reset = false;
  Reset reset;
  bool want_read = true;  // false: leave bytes in the kernel (connections of one stream)
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;

 private:
  friend class UpstreamConnection;
  UpstreamConnection* connection_ = nullptr;
  UpstreamExchange* next_ = nullptr;  // of the connection's
  UpstreamExchange* previous_ = nullptr;
  UpstreamExchange* next_in_bucket_ = nullptr;
  Chain outgoing_;  // request body that the peer's window or the connection does not take yet
  HeaderList outgoing_trailers_;
  size_t owed_ = 0;            // of on_data, for which the codec has no credit yet
  bool end_outgoing_ = false;  // it ends there
  bool request_ended_ = false;
  bool waits_for_room_ = false;  // counted in the connection's waiting_senders_
};

// A connection to an upstream peer: socket, TLS, client codec, and the leases of its streams (none:
// idle). The pool owns it; it lives at least as long as a lease of it. With HTTP/1 there is one
// lease at a time, which decides what is read and when, and bytes are written at once. Where the
// protocol has streams (`shareable`), the connection reads as bytes come (the peer is held back by
// the windows of the streams), and what all streams have to send leaves in one write at the end of
// the loop's round. Idle, it holds no buffer and goes away when the peer closes or breaks the
// rules.
class UpstreamConnection final : public upstream::PooledConnection,
                                 private SocketHandler,
                                 private CodecReceiver {
 public:
  using MakeCodec = std::unique_ptr<Codec> (*)(CodecReceiver&, uint32_t head_limit);

  explicit UpstreamConnection(Worker& worker);
  ~UpstreamConnection() override;

  // Before open(): the connection is encrypted.
  void use_tls(std::unique_ptr<tls::ClientLayer> layer);
  // Starts to connect. When that is pending, the event of each lease rings when it is done.
  net::ConnectResult open(const net::Address& to, const net::ConnectOptions& options);
  // Binds a lease; the connection tells it everything until release().
  void attach(UpstreamExchange& exchange, MakeCodec make_codec, uint32_t head_limit);
  // Ends the lease, which has no stream afterwards: one that is not over is cancelled. With `keep`
  // a connection that nobody uses then stays for others of this cluster; else it goes when the last
  // lease goes. Touch nothing of it afterwards.
  void release(UpstreamExchange& exchange, const upstream::Cluster* keep);

  // --- for the attempt that holds the lease; connected
  // Opens a stream and sends the head; `end`: no body follows. False: there is no room (the limit
  // turned out to be lower, GOAWAY): release and take another connection.
  bool start(UpstreamExchange& exchange, const MessageHead& head, bool end);
  // Takes all of `data`; what the peer does not take yet counts in unsent().
  void send(UpstreamExchange& exchange, Chain&& data, bool end);
  // Ends the body, with trailers, whose text is the exchange's.
  void send_trailers(UpstreamExchange& exchange, const HeaderList& trailers);
  // True: nothing of the lease's is left here. Else its event rings when something moved.
  bool flush(UpstreamExchange& exchange);
  size_t unsent(const UpstreamExchange& exchange) const;
  // Bytes of the inbox have been disposed of.
  void consumed(UpstreamExchange& exchange, size_t bytes);
  // Reads and parses once, as far as the lease wants. False: nothing can be had now.
  bool read_some(UpstreamExchange& exchange);
  // Reads again in the next round of the loop.
  void read_later();

  // --- tunnels; connections of one stream
  int descriptor() const { return stream_->descriptor(); }
  // Bytes that came behind the head of a 101.
  Chain take_raw(UpstreamExchange& exchange);
  // Gives the stream up (to a tunnel, which sets its handler).
  std::unique_ptr<net::Stream> take_stream() { return std::move(stream_); }

  bool has_room() const override;
  size_t leases() const { return leases_; }

 private:
  void on_readable() override;
  void on_writable() override;
  Arena& on_begin(StreamId stream) override;
  void on_interim(StreamId stream, MessageHead& head) override;
  void on_head(StreamId stream, MessageHead& head) override;
  void on_data(StreamId stream, Slice data) override;
  void on_trailers(StreamId stream, HeaderList& trailers) override;
  void on_end(StreamId stream) override;
  void on_surplus(StreamId stream, const char* what) override;
  void on_upgraded(StreamId stream) override;
  void on_reset(StreamId stream, const Reset& reset) override;
  void on_goaway(StreamId) override {}
  void on_writable(StreamId stream) override;
  void on_settings() override;

  UpstreamExchange* find(StreamId stream) const;
  void link(UpstreamExchange& exchange);
  void unlink(UpstreamExchange& exchange);
  void remember(UpstreamExchange& exchange);
  void forget(UpstreamExchange& exchange);
  void continue_handshake();
  void connected();
  bool may_start();
  void let_start();
  void fail(const char* call, int error);
  // One stream (HTTP/1).
  bool flush_at_once(UpstreamExchange& exchange);
  void feed();
  void read_alone();
  bool reusable(const UpstreamExchange& exchange);
  // Many.
  void push(UpstreamExchange& exchange);
  void push_waiting();
  void write_later();
  void write_all();
  void read_shared(int limit);
  void leave_if_useless();
  bool may_idle() const;
  void rest();
  static void flush_due(void* self) {
    static_cast<UpstreamConnection*>(self)->write_all();
    static_cast<UpstreamConnection*>(self)->leave_if_useless();
  }
  static void rest_due(void* self) { static_cast<UpstreamConnection*>(self)->rest(); }

  Worker& worker_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<tls::ClientLayer> unused_layer_;  // until TCP is connected
  tls::ClientLayer* handshake_ = nullptr;           // while it is under way
  std::unique_ptr<Codec> codec_;
  UpstreamExchange* first_ = nullptr;         // leases, the newest first
  std::vector<UpstreamExchange*> by_stream_;  // buckets; a power of two of them
  Slice unfed_;
  Deferred flush_;
  Timer rest_timer_;
  uint32_t leases_ = 0;
  uint32_t with_stream_ = 0;
  uint32_t waiting_senders_ = 0;
  bool connecting_ = false;  // TLS included
  bool broken_ = false;      // shared: no stream is of use any more
  bool first_started_ = false;
  bool settled_ = false;  // shared: the peer has said how many streams it takes
  bool write_failed_ = false;
  bool write_blocked_ = false;
};

}  // namespace weir::http
