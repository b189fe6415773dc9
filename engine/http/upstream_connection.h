#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/async/event.h"
#include "engine/base/slice.h"
#include "engine/http/codec.h"
#include "engine/net/connector.h"
#include "engine/net/stream.h"
#include "engine/upstream/runtime.h"

namespace weir {
struct Worker;
}

namespace weir::http {

// One use of an upstream connection: what the attempt looks at after its bell rang. Owned by the
// attempt, in the request's arena.
struct UpstreamExchange {
  UpstreamExchange(Event& event, Arena& arena) : event(event), arena(arena) {}
  Event& event;
  Arena& arena;
  StreamId stream = 0;
  bool connected = false;
  int error = 0;                 // errno of connect, read or write
  const char* failed_call = "";  // "connect()", "recv()", "writev()"
  std::vector<MessageHead*> interim;
  MessageHead* head = nullptr;
  HeaderList* trailers = nullptr;
  Chain inbox;         // body bytes not taken yet
  bool ended = false;  // the response is complete
  bool upgraded = false;
  bool write_failed = false;  // the peer takes no more; what it said before still counts
  bool closed = false;        // the peer closed, or reading failed: nothing more comes
  bool was_reset = false;
  Reset reset;
  bool want_read = true;  // false: leave bytes in the kernel
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
};

// A connection to an upstream peer: socket, client codec, and the exchange under way (null: idle in
// a pool). Idle, it holds no buffer and goes away when the peer closes or sends.
class UpstreamConnection final : public upstream::PooledConnection,
                                 private SocketHandler,
                                 private CodecReceiver {
 public:
  using MakeCodec = std::unique_ptr<Codec> (*)(CodecReceiver&, uint32_t head_limit);

  explicit UpstreamConnection(Worker& worker);
  ~UpstreamConnection() override;

  // Starts to connect. When that is pending, the exchange's event rings when it is done.
  net::ConnectResult open(const net::Address& to, const net::ConnectOptions& options);
  // Binds an exchange; the connection tells it everything until detach().
  void attach(UpstreamExchange& exchange, MakeCodec make_codec, uint32_t head_limit);
  void detach() { exchange_ = nullptr; }
  // Ends a reusable() exchange: frees what an idle connection does not need.
  void make_idle();

  Codec& codec() { return *codec_; }
  int descriptor() const { return stream_->descriptor(); }
  // Writes what the codec wants to send. False: something is left, the event rings when it moved.
  bool flush();
  size_t unsent() { return codec_ ? codec_->output().bytes() : 0; }
  // Reads and parses once, as far as the exchange wants. False: nothing can be had now.
  bool read_some();
  // Reads again in the next round of the loop.
  void read_later() { stream_->read_later(); }
  // After on_end: may another exchange follow? False also when the peer sent more than it should.
  bool reusable();
  // Bytes that came behind the head of a 101.
  Chain take_raw();
  // Gives the stream up (to a tunnel, which sets its handler).
  std::unique_ptr<net::Stream> take_stream() { return std::move(stream_); }

 private:
  void on_readable() override;
  void on_writable() override;
  Arena& on_begin(StreamId stream) override;
  void on_interim(StreamId stream, MessageHead& head) override;
  void on_head(StreamId stream, MessageHead& head) override;
  void on_data(StreamId stream, Slice data) override;
  void on_trailers(StreamId stream, HeaderList& trailers) override;
  void on_end(StreamId stream) override;
  void on_upgraded(StreamId stream) override;
  void on_reset(StreamId stream, const Reset& reset) override;
  void on_goaway(StreamId) override {}
  void on_writable(StreamId stream) override;
  void feed();
  void fail(const char* call, int error);
  void ring() {
    if (exchange_) exchange_->event.ring();
  }

  Worker& worker_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<Codec> codec_;
  UpstreamExchange* exchange_ = nullptr;
  Slice unfed_;
  bool connecting_ = false;
};

}  // namespace weir::http
