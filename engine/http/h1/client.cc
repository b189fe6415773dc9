#include <string>

#include "engine/http/h1/codec.h"
#include "engine/http/h1/exchange.h"
#include "engine/http/h1/problem.h"

namespace weir::http::h1 {
namespace {

// Of a response's fields only their bytes are limited.
constexpr HeadLimits kResponseLimits{.max_headers = UINT32_MAX};
constexpr HeadLimits kTrailerLimits{.max_headers = 1000};

class ClientCodec final : public ExchangeCodec {
 public:
  ClientCodec(CodecReceiver& receiver, const ClientOptions& options)
      : ExchangeCodec(receiver), options_(options) {}

  void end_of_input() override;
  StreamId open_stream(Arena& arena) override;
  void send_interim(StreamId, const MessageHead&) override {}
  void send_head(StreamId stream, const MessageHead& head, bool end) override;
  void finish_connection() override { finishing_ = true; }
  bool reusable() const override;
  bool idle() const override { return !open_; }
  void next_exchange() override;

 private:
  size_t feed_head(const Slice& bytes, size_t from) override;
  size_t feed_surplus(size_t count) override;
  const HeadLimits& trailer_limits() const override { return kTrailerLimits; }
  Arena& trailer_arena() override { return *arena_; }
  const char* chunk_error() const override {
    return "upstream sent invalid chunked response while reading upstream";
  }
  int body_error_status() const override { return 502; }

  void accept_head(std::string_view text);
  void accept_interim(MessageHead& head);
  void accept_http_0_9();
  void begin_response();
  bool current(StreamId stream) const override {
    return open_ && stream == stream_ && sending_ != Sending::dead;
  }

  ClientOptions options_;
  Arena* arena_ = nullptr;  // of the exchange, while it is open
  RequestFacts request_;
  bool open_ = false;     // open_stream to next_exchange
  bool begun_ = false;    // on_begin was called
  bool used_ = false;     // bytes of an answer came
  bool chunked_ = false;  // that answer is
  uint8_t interim_count_ = 0;
  bool last_exchange_ = false;  // our request said so
};

// An upstream may send hints, but not for ever.
constexpr uint8_t kInterimLimit = 100;

StreamId ClientCodec::open_stream(Arena& arena) {
  if (open_ || finishing_ || !keep_alive_ || receiving_ != Receiving::idle) return 0;
  open_ = true;
  begun_ = false;
  used_ = false;
  interim_count_ = 0;
  request_ = {};
  arena_ = &arena;
  return ++stream_;
}

void ClientCodec::send_head(StreamId stream, const MessageHead& head, bool end) {
  if (!current(stream) || sending_ != Sending::idle) return;
  request_ = {head.method, head.upgrade};
  // RFC 9112 section 9.6: after "close" nothing more is sent, whatever the answer says.
  const Header* connection = head.headers.find(HeaderId::connection);
  if (connection && has_token(connection->value, "close")) last_exchange_ = true;
  writer_.request_head(head);
  switch (head.body.kind) {
    case BodyLength::Kind::chunked:
      sending_ = Sending::chunked;
      break;
    case BodyLength::Kind::exact:
      sending_ = Sending::exact;
      send_left_ = head.body.bytes;
      break;
    default:
      sending_ = Sending::absent;
      break;
  }
  if (end) {
    Chain nothing;
    send_data(stream, nothing, true);
  }
}

void ClientCodec::begin_response() {
  if (begun_) return;
  begun_ = true;
  arena_ = &receiver_.on_begin(stream_);
}

size_t ClientCodec::feed_head(const Slice& bytes, size_t from) {
  if (!open_ || sending_ == Sending::idle) {
    // Nobody asked for these: a late 408, or the tail of an answer. The connection is spoilt.
    keep_alive_ = false;
    receiving_ = Receiving::dead;
    return bytes.size() - from;
  }
  used_ = true;
  size_t held = state_ && receiving_ == Receiving::head ? state_->head.pending.size() : 0;
  size_t used = 0;
  std::string_view text;
  auto result = read_head(bytes, from, HeadParser::Kind::response, kResponseLimits,
                          options_.head_limit, used, text);
  switch (result) {
    case HeadParser::Result::incomplete:
      break;
    case HeadParser::Result::complete:
      accept_head(text);
      break;
    case HeadParser::Result::malformed: {
      begin_response();
      const char* reason = describe_response_problem(*arena_, state_->head.failure(), text);
      fail(Reset::Cause::malformed, 502, reason);
      break;
    }
    case HeadParser::Result::not_http:
      if (!options_.allow_http_0_9) {
        begin_response();
        fail(Reset::Cause::malformed, 502,
             "upstream sent no valid HTTP/1.0 header while reading response header from upstream");
        break;
      }
      // Everything so far is body: what was held goes first, then this slice as it is.
      Slice pending = held > 0 ? Slice::copy_of(text.substr(0, held)) : Slice();
      accept_http_0_9();
      if (!pending.empty() && receiving_ == Receiving::until_close) {
        owed_ += pending.size();
        receiver_.on_data(stream_, std::move(pending));
      }
      return 0;
  }
  return used;
}

void ClientCodec::accept_http_0_9() {
  begin_response();
  auto* head = arena_->make<MessageHead>();
  head->status = 200;
  head->version = Version::http_0_9;
  head->keep_alive = false;
  head->body.kind = BodyLength::Kind::until_close;
  keep_alive_ = false;
  receiver_.on_head(stream_, *head);
  if (receiving_ == Receiving::head) begin_body(head->body);
}

void ClientCodec::accept_interim(MessageHead& head) {
  if (++interim_count_ > kInterimLimit) {
    fail(Reset::Cause::malformed, 502,
         "upstream sent too many interim responses while reading response header from upstream");
    return;
  }
  receiver_.on_interim(stream_, head);
  if (receiving_ == Receiving::head) receiving_ = Receiving::idle;
}

void ClientCodec::accept_head(std::string_view text) {
  begin_response();
  text = arena_->copy(text);
  auto* head = arena_->make<MessageHead>();
  state_->head.fill(*arena_, text.data(), text.size(), *head);
  BodyVerdict verdict = judge_response(*arena_, *head, request_);
  if (verdict.status != 0) {
    fail(Reset::Cause::malformed, verdict.status, verdict.reason);
    return;
  }
  if (head->status < 200 && head->status != 101) {
    accept_interim(*head);
    return;
  }
  if (head->status == 101 && sending_ != Sending::done) {
    // RFC 9110 section 7.8: the request comes first, whole. Its rest must not become tunnel data.
    fail(Reset::Cause::malformed, 502,
         "upstream sent \"101\" response before the request was sent while reading response header "
         "from upstream");
    return;
  }
  head->body = verdict.body;
  head->upgrade = head->status == 101;
  head->keep_alive = response_keeps_alive(*head);
  if (!head->keep_alive || last_exchange_ || head->upgrade ||
      head->body.kind == BodyLength::Kind::until_close) {
    keep_alive_ = false;
  }
  receiver_.on_head(stream_, *head);
  if (receiving_ != Receiving::head) return;
  chunked_ = head->body.kind == BodyLength::Kind::chunked;
  if (!head->upgrade) {
    begin_body(head->body);
    return;
  }
  receiving_ = Receiving::raw;
  sending_ = Sending::raw;
  state_ = nullptr;
  receiver_.on_upgraded(stream_);
}

// More bytes than the answer has: nothing may follow on this connection.
size_t ClientCodec::feed_surplus(size_t count) {
  keep_alive_ = false;
  receiving_ = Receiving::dead;
  if (open_) {
    receiver_.on_surplus(stream_, chunked_ ? "upstream sent data after final chunk"
                                           : "upstream sent more data than specified in "
                                             "\"Content-Length\" header");
  }
  return count;
}

void ClientCodec::end_of_input() {
  switch (receiving_) {
    case Receiving::until_close:
    case Receiving::raw:
      message_complete();
      break;
    case Receiving::done:
    case Receiving::dead:
      break;
    case Receiving::idle:
    case Receiving::head:
      if (!open_) {
        receiving_ = Receiving::dead;
        break;
      }
      begin_response();
      // A connection that died before it answered anything: the peer may never have seen the
      // request.
      fail(Reset::Cause::peer_reset, 502,
           "upstream prematurely closed connection while reading response header from upstream",
           nullptr, !used_);
      break;
    default:
      fail(Reset::Cause::peer_reset, 502,
           "upstream prematurely closed connection while reading upstream");
      break;
  }
  keep_alive_ = false;
}

bool ClientCodec::reusable() const {
  if (!keep_alive_ || finishing_ || receiving_ == Receiving::dead) return false;
  if (!open_) return true;
  return receiving_ == Receiving::done && sending_ == Sending::done;
}

void ClientCodec::next_exchange() {
  if (!open_) return;
  bool clean = reusable();
  open_ = false;
  arena_ = nullptr;
  owed_ = 0;
  state_ = nullptr;
  writer_.release();
  sending_ = Sending::idle;
  receiving_ = clean ? Receiving::idle : Receiving::dead;
  if (!clean) keep_alive_ = false;
}

}  // namespace

std::unique_ptr<Codec> make_client_codec(CodecReceiver& receiver, const ClientOptions& options) {
  return std::make_unique<ClientCodec>(receiver, options);
}

}  // namespace weir::http::h1
