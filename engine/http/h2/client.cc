#include <algorithm>
#include <string_view>

#include "engine/http/framing.h"
#include "engine/http/h2/codec.h"
#include "engine/http/h2/multiplexer.h"

namespace weir::http::h2 {
namespace {

// An upstream may send hints, but not for ever.
constexpr uint32_t kInterimLimit = 100;
constexpr size_t kStreamLimit = 4096;

#define WHILE_READING_RESPONSE " while reading response header from upstream"

class ClientCodec final : public Multiplexer {
 public:
  ClientCodec(CodecReceiver& receiver, const ClientOptions& options);

  StreamId open_stream(Arena& arena) override;
  void send_interim(StreamId, const MessageHead&) override {}
  void send_head(StreamId stream, const MessageHead& head, bool end) override;
  void finish_connection() override;
  bool reusable() const override;
  bool can_open_stream() const override;

 private:
  void on_begin_headers(const nghttp2_frame& frame) override;
  void on_field(Stream& stream, std::string_view name, std::string_view value) override;
  void on_headers(Stream& stream, bool end) override;
  void malformed(Stream& stream, const char* reason);
  BodyLength body_length(Stream& stream, bool end, bool& valid);
  uint32_t stream_limit() const;

  ClientOptions options_;
};

ClientCodec::ClientCodec(CodecReceiver& receiver, const ClientOptions& options)
    : Multiplexer(receiver, Role::client), options_(options) {
  open();
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2);
  const uint32_t window = std::clamp<uint32_t>(options_.connection_window, 65535, INT32_MAX);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(window));
  pump();
}

// --- requests

uint32_t ClientCodec::stream_limit() const {
  if (!settings_received_) return options_.first_streams;
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool ClientCodec::reusable() const {
  return !dead_ && !finishing_ && !goaway_received_ &&
         nghttp2_session_check_request_allowed(session_) != 0;
}

bool ClientCodec::can_open_stream() const {
  return held_ < std::min<size_t>(stream_limit(), kStreamLimit) && reusable();
}

StreamId ClientCodec::open_stream(Arena& arena) {
  if (!can_open_stream()) return 0;
  Stream* stream = make_stream();
  if (stream == nullptr) return 0;
  stream->arena = &arena;
  return stream->handle;
}

void ClientCodec::send_head(StreamId handle, const MessageHead& head, bool end) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->number > 0 || dead_) return;
  FieldWriter& writer = FieldWriter::of_thread();
  writer.clear();
  writer.add(":method", head.method_text);
  writer.add(":scheme", head.scheme.empty() ? std::string_view("http") : head.scheme);
  std::string_view authority = head.authority;
  if (authority.empty()) {
    if (const Header* host = head.headers.find(HeaderId::host)) authority = host->value;
  }
  if (!authority.empty()) writer.add(":authority", authority);
  writer.add(":path", head.target.empty() ? std::string_view("/") : head.target);
  if (!head.connect_protocol.empty()) writer.add(":protocol", head.connect_protocol);
  for (const Header& field : head.headers) writer.add(field);
  stream->request_method =
      head.method != Method::unknown ? head.method : find_method(head.method_text);
  stream->output_begun = true;
  stream->finish = end;
  stream->frame_size = head.frame_size;
  pump_if_wanted();
  const size_t before = output_.bytes();
  const nghttp2_data_provider body = provider(*stream);
  const int32_t number = nghttp2_submit_request(session_, nullptr, settled(writer), writer.size(),
                                                end ? nullptr : &body, stream);
  if (number < 0) {
    tell_reset(*stream, Reset::Cause::refused, 502, "no more streams on this connection", 0, true);
    return;
  }
  stream->number = number;
  ++open_;
  pump();
  if (dead_) return;
  stream->head_sent = output_.bytes() - before;
  stream->sent += stream->head_sent;
}

void ClientCodec::finish_connection() {
  if (finishing_ || dead_) return;
  finishing_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  pump();
}

// --- responses

void ClientCodec::on_begin_headers(const nghttp2_frame& frame) {
  Stream* stream = of_number(frame.hd.stream_id);
  if (stream == nullptr || stream->told || stream->head_done) return;
  if (stream->interims == 0) stream->arena = &receiver_.on_begin(stream->handle);
  stream->head = stream->arena->make<MessageHead>();
  stream->head->version = Version::http_2;
  stream->head->protocol = "HTTP/2.0";
  stream->pseudo_done = false;
}

void ClientCodec::malformed(Stream& stream, const char* reason) {
  tell_reset(stream, Reset::Cause::malformed, 502, reason);
  refuse_stream(stream.number, NGHTTP2_PROTOCOL_ERROR);
}

void ClientCodec::on_field(Stream& stream, std::string_view name, std::string_view value) {
  if (stream.refused != 0) return;
  auto refuse = [&stream](const char* reason) {
    stream.refused = 502;
    stream.refused_reason = reason;
  };
  stream.field_bytes += static_cast<uint32_t>(name.size() + value.size() + 4);
  if (stream.field_bytes > options_.head_limit) {
    return refuse("upstream sent too big header" WHILE_READING_RESPONSE);
  }
  MessageHead& head = *stream.head;
  if (name.starts_with(':')) {
    const bool digits = value.size() == 3 && value[0] >= '1' && value[0] <= '9' &&
                        value[1] >= '0' && value[1] <= '9' && value[2] >= '0' && value[2] <= '9';
    if (name != ":status" || head.status != 0 || stream.pseudo_done || !digits) {
      return refuse("upstream sent invalid pseudo-header" WHILE_READING_RESPONSE);
    }
    head.status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    return;
  }
  stream.pseudo_done = true;
  if (name.empty() || judge_name(name, true) == NameVerdict::invalid || !is_valid_value(value)) {
    return refuse("upstream sent invalid header" WHILE_READING_RESPONSE);
  }
  Header field;
  field.id = find_header_id(name);
  if (is_hop_by_hop(field.id) && field.id != HeaderId::trailer) {
    return refuse("upstream sent a header of one connection" WHILE_READING_RESPONSE);
  }
  field.name = stream.arena->copy(name);
  // An error by RFC 9113 section 8.2.1, but a harmless one that backends make.
  field.value = stream.arena->copy(without_outer_blanks(value));
  field.secret = stream.field_secret;
  head.headers.add(*stream.arena, field);
}

BodyLength ClientCodec::body_length(Stream& stream, bool end, bool& valid) {
  const MessageHead& head = *stream.head;
  BodyLength body;
  const Header* length = nullptr;
  for (const Header& field : head.headers) {
    if (field.id != HeaderId::content_length) continue;
    if (length != nullptr && field.value != length->value) valid = false;
    length = &field;
  }
  std::optional<uint64_t> bytes;
  if (length != nullptr) {
    bytes = parse_content_length(length->value);
    if (!bytes) valid = false;
  }
  if (!valid) return body;
  if (stream.request_method == Method::head || head.status == 204 || head.status == 304) {
    // The declared length is kept for the head's reader.
    if (bytes) body.bytes = *bytes;
    return body;
  }
  if (bytes) {
    body = {*bytes == 0 ? BodyLength::Kind::none : BodyLength::Kind::exact, *bytes};
    if (end && *bytes > 0) valid = false;
  } else if (!end) {
    body.kind = BodyLength::Kind::chunked;
  }
  return body;
}

void ClientCodec::on_headers(Stream& stream, bool end) {
  MessageHead& head = *stream.head;
  head.bytes = head_bytes_;
  if (stream.refused != 0) return malformed(stream, stream.refused_reason);
  if (head.status == 0) {
    return malformed(stream, "upstream sent no :status header" WHILE_READING_RESPONSE);
  }
  if (head.status < 200) {
    if (end || head.status == 101 || ++stream.interims > kInterimLimit) {
      return malformed(stream, "upstream sent invalid interim response" WHILE_READING_RESPONSE);
    }
    receiver_.on_interim(stream.handle, head);
    return;
  }
  bool valid = true;
  head.body = body_length(stream, end, valid);
  if (!valid) {
    return malformed(stream,
                     "upstream sent invalid \"Content-Length\" header" WHILE_READING_RESPONSE);
  }
  stream.head_done = true;
  receiver_.on_head(stream.handle, head);
}

}  // namespace

std::unique_ptr<Codec> make_client_codec(CodecReceiver& receiver, const ClientOptions& options) {
  return std::make_unique<ClientCodec>(receiver, options);
}

}  // namespace weir::http::h2
