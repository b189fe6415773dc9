#include <algorithm>
#include <string_view>

#include "engine/http/framing.h"
#include "engine/http/h2/codec.h"
#include "engine/http/h2/multiplexer.h"
#include "engine/http/h2/request_head.h"

namespace weir::http::h2 {
namespace {

// New streams that may come after the first GOAWAY, before the second.
constexpr uint32_t kStreamsAfterNotice = 256;

class ServerCodec final : public Multiplexer {
 public:
  ServerCodec(CodecReceiver& receiver, const HeadLimits& limits, const ServerOptions& options);

  StreamId open_stream(Arena&) override { return 0; }
  void send_interim(StreamId stream, const MessageHead& head) override;
  void send_head(StreamId stream, const MessageHead& head, bool end) override;
  void finish_connection() override;
  bool reusable() const override { return !finishing_ && !dead_; }

 private:
  void on_begin_headers(const nghttp2_frame& frame) override;
  void on_field(Stream& stream, std::string_view name, std::string_view value) override;
  void on_headers(Stream& stream, bool end) override;
  void on_ping_answered() override;
  void announce();
  void refuse(Stream& stream, int status, const char* reason);
  void last_goaway();

  const HeadLimits& limits_;
  ServerOptions options_;
  uint32_t streams_after_notice_ = 0;
  bool final_ = false;  // the second GOAWAY is out
};

ServerCodec::ServerCodec(CodecReceiver& receiver, const HeadLimits& limits,
                         const ServerOptions& options)
    : Multiplexer(receiver, Role::server), limits_(limits), options_(options) {
  open();
  announce();
}

void ServerCodec::announce() {
  // nghttp2 would end the connection over a stream too many, where RFC 9113 section 5.1.2 has an
  // error of that stream: it knows no limit, and the peer reads ours.
  nghttp2_settings_entry settings[4] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0x7fffffff},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.body_preread_size},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
  };
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, options_.extended_connect ? 4 : 3);
  const uint64_t window = uint64_t{options_.max_concurrent_streams} * options_.body_preread_size;
  nghttp2_session_set_local_window_size(
      session_, NGHTTP2_FLAG_NONE, 0,
      static_cast<int32_t>(std::clamp<uint64_t>(window, 65535, INT32_MAX)));
  pump();
  constexpr size_t kValueAt = 9 + 2;
  for (size_t i = 0; i < 4; ++i) {
    block_->data()[kValueAt + i] =
        static_cast<char>(options_.max_concurrent_streams >> (24 - 8 * i) & 255);
  }
}

// --- requests

void ServerCodec::on_begin_headers(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return;
  if (open_ >= options_.max_concurrent_streams || held_ >= 2 * options_.max_concurrent_streams) {
    refuse_stream(frame.hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  if (finishing_ && ++streams_after_notice_ > kStreamsAfterNotice) last_goaway();
  Stream* stream = make_stream();
  if (stream == nullptr) {
    refuse_stream(frame.hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  stream->number = frame.hd.stream_id;
  ++open_;
  nghttp2_session_set_stream_user_data(session_, stream->number, stream);
  stream->arena = &receiver_.on_begin(stream->handle);
  stream->head = begin_request(*stream->arena);
}

void ServerCodec::refuse(Stream& stream, int status, const char* reason) {
  if (stream.refused != 0) return;
  stream.refused = status;
  stream.refused_reason = reason;
}

void ServerCodec::on_field(Stream& stream, std::string_view name, std::string_view value) {
  const size_t before = stream.field_bytes;
  const uint64_t limit = uint64_t{limits_.buffer_count} * limits_.buffer_size;
  // What was indexed is cheap to send and dear to keep: a list far above the limit ends all.
  stream.field_bytes = static_cast<uint32_t>(before + name.size() + value.size() + 4);
  if (stream.field_bytes > 4 * limit + 65536) {
    flood("http2 flood detected: header list is too long");
    return;
  }
  if (stream.refused != 0) return;
  if (stream.field_bytes > limit || name.size() + value.size() > limits_.buffer_size) {
    refuse(stream, 494,
           stream.field_bytes > limit ? "client sent too large header"
                                      : "client sent too large header field");
    return;
  }
  const FieldVerdict verdict =
      add_request_field(stream, name, value, limits_, options_.extended_connect);
  if (verdict.status != 0) refuse(stream, verdict.status, verdict.reason);
}

void ServerCodec::on_headers(Stream& stream, bool end) {
  MessageHead& head = *stream.head;
  head.bytes = head_bytes_;
  if (stream.refused == 0) {
    const FieldVerdict verdict = finish_request(stream, end);
    if (verdict.status != 0) refuse(stream, verdict.status, verdict.reason);
  } else if (stream.pseudo_done) {
    fill_request_line(stream);
  }
  stream.request_method = head.method;
  if (stream.refused != 0) {
    ArenaText text(*stream.arena, 128);
    text.append(stream.refused_reason);
    text.append(" while reading client request headers");
    text.push_back('\0');
    tell_reset(stream, Reset::Cause::malformed, stream.refused, text.view().data());
    stream.head_done = true;
    return;
  }
  stream.head_done = true;
  receiver_.on_head(stream.handle, head);
}

// --- responses

void ServerCodec::send_interim(StreamId handle, const MessageHead& head) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || stream->told || stream->output_begun || dead_) return;
  FieldWriter& writer = FieldWriter::of_thread();
  writer.clear();
  writer.add_number(":status", static_cast<uint64_t>(head.status));
  for (const Header& field : head.headers) writer.add(field);
  pump_if_wanted();
  const size_t before = output_.bytes();
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream->number, nullptr, settled(writer),
                         writer.size(), nullptr);
  pump();
  if (!dead_) stream->sent += output_.bytes() - before;
}

bool in_first_group(HeaderId id) {
  return id == HeaderId::server || id == HeaderId::date || id == HeaderId::content_type;
}

void ServerCodec::send_head(StreamId handle, const MessageHead& head, bool end) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || stream->told || stream->output_begun || dead_) return;
  if (head.status == 101) {
    // RFC 9113 section 8.6: there is no such thing here.
    send_reset(handle, NGHTTP2_INTERNAL_ERROR);
    return;
  }
  const SentFraming framing =
      frame_response(head, {stream->request_method, Version::http_1_1, true});
  FieldWriter& writer = FieldWriter::of_thread();
  writer.clear();
  writer.add_number(":status", static_cast<uint64_t>(head.status));
  const Header* field = head.headers.begin();
  const Header* last = head.headers.end();
  while (field != last && in_first_group(field->id)) writer.add(*field++);
  if (framing.content_length) writer.add_number("content-length", head.body.bytes);
  while (field != last) writer.add(*field++);
  end = end || framing.body == SentFraming::Body::absent;
  stream->output_begun = true;
  stream->finish = end;
  stream->frame_size = head.frame_size;
  pump_if_wanted();
  const size_t before = output_.bytes();
  const nghttp2_data_provider body = provider(*stream);
  nghttp2_submit_response(session_, stream->number, settled(writer), writer.size(),
                          end ? nullptr : &body);
  pump();
  if (dead_) return;
  stream->head_sent = output_.bytes() - before;
  stream->sent += stream->head_sent;
}

// --- the end

// RFC 9113 section 6.8: the first GOAWAY asks for no more, the second, when the peer must have
// read that, says what was processed.
void ServerCodec::finish_connection() {
  if (dead_ || final_) return;
  if (finishing_) {
    last_goaway();
    return;
  }
  finishing_ = true;
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  pump();
}

void ServerCodec::last_goaway() {
  if (final_) return;
  final_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  pump();
}

void ServerCodec::on_ping_answered() {
  if (finishing_) {
    last_goaway();
  } else {
    receiver_.on_pong();
  }
}

}  // namespace

std::unique_ptr<Codec> make_server_codec(CodecReceiver& receiver, const HeadLimits& limits,
                                         const ServerOptions& options) {
  return std::make_unique<ServerCodec>(receiver, limits, options);
}

}  // namespace weir::http::h2
