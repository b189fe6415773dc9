#pragma once

#include <cstdint>
#include <memory>

#include "engine/http/codec.h"
#include "engine/http/framing.h"
#include "engine/http/h1/chunked.h"
#include "engine/http/h1/head_parser.h"
#include "engine/http/h1/writer.h"

namespace weir::http::h1 {

// Parser state, from a free list of this thread while a head or a chunked body is being read.
struct ParserState {
  HeadParser head;
  ChunkDecoder chunks;
};
struct ParserStateReturn {
  void operator()(ParserState* state) const;
};
using ParserStateRef = std::unique_ptr<ParserState, ParserStateReturn>;
ParserStateRef take_parser_state();

// What both roles share: the receiving side of one exchange after another, credit, and bodies sent.
class ExchangeCodec : public Codec {
 public:
  // Bytes of on_data that a receiver may owe before feed() pauses.
  static constexpr size_t kWindow = 128 * 1024;
  static constexpr uint32_t kTrailerLimit = 16 * 1024;

  size_t feed(const Slice& bytes) final;
  void consumed(StreamId stream, size_t bytes) final;
  void send_data(StreamId stream, Chain& data, bool end) final;
  void send_trailers(StreamId stream, const HeaderList& trailers) final;
  void send_reset(StreamId stream, uint32_t code) final;
  Chain& output() final { return writer_.output(); }
  void release_memory() final;

 protected:
  enum class Receiving : uint8_t {
    idle,  // between messages
    head,  // some bytes of one
    exact,
    chunked,
    trailers,
    until_close,
    raw,   // a tunnel
    done,  // the message is complete
    dead,  // malformed or cancelled: bytes are dropped
  };
  enum class Sending : uint8_t { idle, absent, exact, chunked, until_close, raw, done, dead };

  explicit ExchangeCodec(CodecReceiver& receiver) : receiver_(receiver) {}

  // Is `stream` the exchange under way, and may something be sent on it?
  virtual bool current(StreamId stream) const = 0;
  // At idle or head: takes bytes of a head. Returns how many; sets receiving_.
  virtual size_t feed_head(const Slice& bytes, size_t from) = 0;
  // Bytes behind a complete message. Returns how many were taken.
  virtual size_t feed_surplus(size_t count) = 0;
  virtual const HeadLimits& trailer_limits() const = 0;
  virtual Arena& trailer_arena() = 0;
  virtual const char* chunk_error() const = 0;
  virtual int body_error_status() const = 0;

  // Parses the bytes as the next piece of a head, in place where they hold all of it. `used`: bytes
  // taken. After complete or malformed, `text` is the head in the receiver's arena.
  HeadParser::Result read_head(const Slice& bytes, size_t from, HeadParser::Kind kind,
                               const HeadLimits& limits, uint32_t head_limit, size_t& used,
                               std::string_view& text);
  // Sets receiving_ for a body and reports its end where there is none.
  void begin_body(const BodyLength& body);
  void message_complete();
  void fail(Reset::Cause cause, int status, const char* reason, MessageHead* head = nullptr,
            bool retry_safe = false);
  // Sends body bytes as sending_ says. True when the message is complete.
  bool write_body(Chain& data, bool end);
  void message_sent();

  CodecReceiver& receiver_;
  ParserStateRef state_;
  Writer writer_;
  uint64_t body_left_ = 0;  // to receive
  uint64_t send_left_ = 0;
  size_t owed_ = 0;  // bytes of on_data without credit
  StreamId stream_ = 0;
  Receiving receiving_ = Receiving::idle;
  Sending sending_ = Sending::idle;
  bool keep_alive_ = true;  // as far as this exchange allows
  bool finishing_ = false;  // finish_connection was called

 private:
  size_t feed_body(const Slice& bytes, size_t from, size_t count);
  size_t feed_chunked(const Slice& bytes, size_t from);
  size_t feed_trailers(const Slice& bytes, size_t from);
};

}  // namespace weir::http::h1
