#include <algorithm>
#include <cstring>
#include <string>

#include "engine/http/h1/codec.h"
#include "engine/http/h1/exchange.h"
#include "engine/http/h1/problem.h"

namespace weir::http::h1 {
namespace {

class ServerCodec final : public ExchangeCodec {
 public:
  ServerCodec(CodecReceiver& receiver, const HeadLimits& limits)
      : ExchangeCodec(receiver), limits_(limits) {}

  void end_of_input() override;
  StreamId open_stream(Arena&) override { return 0; }
  void send_interim(StreamId stream, const MessageHead& head) override;
  void send_head(StreamId stream, const MessageHead& head, bool end) override;
  void finish_connection() override { finishing_ = true; }
  bool reusable() const override;
  bool idle() const override { return receiving_ == Receiving::idle && sending_ == Sending::idle; }
  void next_exchange() override;

 private:
  size_t feed_head(const Slice& bytes, size_t from) override;
  size_t feed_surplus(size_t count) override;
  const HeadLimits& trailer_limits() const override { return limits_; }
  Arena& trailer_arena() override { return *arena_; }
  const char* chunk_error() const override { return "client sent invalid chunked body"; }
  int body_error_status() const override { return 400; }

  MessageHead* build_head(std::string_view text);
  void accept_head(MessageHead& head);
  void refuse_head(std::string_view text);
  // An exchange is open from the end of its request's head to next_exchange().
  bool current(StreamId stream) const override {
    return arena_ != nullptr && stream == stream_ && sending_ != Sending::dead;
  }

  const HeadLimits& limits_;
  Arena* arena_ = nullptr;  // of the exchange, while it is open
  ReceivedFacts request_;
  bool final_sent_ = false;     // a final head is out
  bool tunnel_wanted_ = false;  // 101 is out: raw when the request has ended
  bool input_ended_ = false;
};

// Bytes of the head up to the end of the line that `at` is in.
uint32_t line_end(const MessageHead& head, const char* at) {
  const char* begin = head.request_line.data();
  const char* end = begin + head.bytes;
  if (at < begin || at >= end) return head.bytes;
  const auto* found = static_cast<const char*>(memchr(at, '\n', static_cast<size_t>(end - at)));
  return found == nullptr ? head.bytes : static_cast<uint32_t>(found - begin) + 1;
}

MessageHead* ServerCodec::build_head(std::string_view text) {
  ++stream_;
  arena_ = &receiver_.on_begin(stream_);
  text = arena_->copy(text);
  auto* head = arena_->make<MessageHead>();
  state_->head.fill(*arena_, text.data(), text.size(), *head);
  request_ = {head->method, head->version, false};
  sending_ = Sending::idle;
  final_sent_ = false;
  keep_alive_ = true;
  return head;
}

size_t ServerCodec::feed_head(const Slice& bytes, size_t from) {
  if (receiving_ == Receiving::idle) {
    // RFC 9112 section 2.2: empty lines before a request line are skipped.
    std::string_view fresh = bytes.view().substr(from);
    size_t blank = 0;
    while (blank < fresh.size() && (fresh[blank] == '\r' || fresh[blank] == '\n')) ++blank;
    if (blank > 0) return blank;
  }
  size_t used = 0;
  std::string_view text;
  auto result = read_head(bytes, from, HeadParser::Kind::request, limits_, 0, used, text);
  if (result == HeadParser::Result::complete) {
    accept_head(*build_head(text));
  } else if (result == HeadParser::Result::malformed) {
    refuse_head(text);
  }
  return used;
}

void ServerCodec::accept_head(MessageHead& head) {
  if (!head.authority.empty()) {
    auto host = validate_host(*arena_, head.authority);
    if (!host) {
      head.bytes = line_end(head, head.request_line.data() + head.request_line.size());
      fail(Reset::Cause::malformed, 400,
           "client sent invalid host in request line while reading client request line", &head);
      return;
    }
    head.host = *host;
  }
  BodyVerdict verdict;
  if (head.version != Version::http_0_9) verdict = judge_request(*arena_, head);
  if (verdict.status != 0) {
    head.keep_alive = false;
    if (verdict.until != nullptr) head.bytes = line_end(head, verdict.until);
    fail(Reset::Cause::malformed, verdict.status, verdict.reason, &head);
    return;
  }
  head.body = verdict.body;
  head.keep_alive = request_keeps_alive(head);
  head.upgrade =
      head.headers.find(HeaderId::upgrade) != nullptr && head.version >= Version::http_1_1;
  const Header* expect = head.headers.find(HeaderId::expect);
  head.expect_continue = expect != nullptr && head.version >= Version::http_1_1 &&
                         equals_ignoring_case(expect->value, "100-continue");
  request_.keep_alive = head.keep_alive;
  receiver_.on_head(stream_, head);
  if (receiving_ == Receiving::head) begin_body(head.body);
}

void ServerCodec::refuse_head(std::string_view text) {
  HeadParser::Failure failure = state_->head.failure();
  MessageHead* head = build_head(text);
  head->keep_alive = false;
  // Lines before the one that was refused.
  head->bytes = failure.line;
  if (failure.problem == HeadParser::Problem::too_many_headers) {
    head->bytes = static_cast<uint32_t>(text.size());
    head->bytes = line_end(*head, head->request_line.data() + failure.stop);
  }
  // The server is chosen as soon as a host is known, and answers what follows.
  const Header* field = head->headers.find(HeaderId::host);
  std::string_view named = head->authority;
  if (named.empty() && field != nullptr) named = field->value;
  if (const auto host = validate_host(*arena_, named)) head->host = *host;
  const char* reason = describe_request_problem(*arena_, failure, text);
  fail(Reset::Cause::malformed, problem_status(failure.problem), reason, head);
}

// Behind a complete request: the next one waits for next_exchange(), a tunnel begins, or nothing
// may come any more.
size_t ServerCodec::feed_surplus(size_t count) {
  if (tunnel_wanted_) {
    receiving_ = Receiving::raw;
    receiver_.on_upgraded(stream_);
    return 0;
  }
  if (final_sent_ && !keep_alive_ && sending_ == Sending::done) {
    receiving_ = Receiving::dead;
    return count;
  }
  return 0;
}

void ServerCodec::end_of_input() {
  input_ended_ = true;
  switch (receiving_) {
    case Receiving::idle:
    case Receiving::done:
    case Receiving::dead:
      if (receiving_ == Receiving::done && tunnel_wanted_) {
        receiving_ = Receiving::raw;
        receiver_.on_upgraded(stream_);
        message_complete();
        return;
      }
      if (receiving_ == Receiving::idle) receiving_ = Receiving::dead;
      return;
    case Receiving::head: {
      bool in_fields = state_->head.head_size() > 0;
      std::string text = std::move(state_->head.pending);
      MessageHead* head = build_head(text);
      head->keep_alive = false;
      if (!in_fields) head->request_line = arena_->copy(text);
      fail(Reset::Cause::peer_reset, 400,
           in_fields ? "client prematurely closed connection while reading client request headers"
                     : "client prematurely closed connection while reading client request line",
           head);
      return;
    }
    case Receiving::raw:
      message_complete();
      return;
    default:
      fail(Reset::Cause::peer_reset, 400, "client prematurely closed connection");
  }
}

void ServerCodec::send_interim(StreamId stream, const MessageHead& head) {
  if (!current(stream) || final_sent_ || request_.version < Version::http_1_1) return;
  writer_.interim_head(head);
}

void ServerCodec::send_head(StreamId stream, const MessageHead& head, bool end) {
  if (!current(stream) || final_sent_) return;
  SentFraming framing = frame_response(head, request_);
  if (finishing_ || receiving_ == Receiving::dead) framing.keep_alive = false;
  final_sent_ = true;
  keep_alive_ = framing.keep_alive;
  if (request_.version != Version::http_0_9) writer_.response_head(head, framing);
  switch (framing.body) {
    case SentFraming::Body::absent:
      sending_ = Sending::absent;
      break;
    case SentFraming::Body::exact:
      sending_ = Sending::exact;
      send_left_ = head.body.kind == BodyLength::Kind::exact ? head.body.bytes : 0;
      break;
    case SentFraming::Body::chunked:
      sending_ = Sending::chunked;
      break;
    case SentFraming::Body::until_close:
      sending_ = Sending::until_close;
      break;
    case SentFraming::Body::raw:
      sending_ = Sending::raw;
      tunnel_wanted_ = receiving_ != Receiving::dead;
      return;
  }
  if (end) {
    Chain nothing;
    send_data(stream, nothing, true);
  }
}

bool ServerCodec::reusable() const {
  if (!keep_alive_ || finishing_ || input_ended_ || receiving_ == Receiving::dead) return false;
  if (receiving_ == Receiving::idle) return true;
  return receiving_ == Receiving::done && sending_ == Sending::done;
}

void ServerCodec::next_exchange() {
  if (receiving_ != Receiving::done || !reusable()) return;
  receiving_ = Receiving::idle;
  sending_ = Sending::idle;
  final_sent_ = false;
  owed_ = 0;
  arena_ = nullptr;
  writer_.release();
}

}  // namespace

std::unique_ptr<Codec> make_server_codec(CodecReceiver& receiver, const HeadLimits& limits) {
  return std::make_unique<ServerCodec>(receiver, limits);
}

}  // namespace weir::http::h1
