#include "engine/http/h2/multiplexer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "engine/http/framing.h"
#include "engine/http/h2/codec.h"

namespace weir::http::h2 {
namespace {

constexpr size_t kSmallPiece = 4096;  // of a body received: gathered instead of keeping its block
constexpr size_t kTrailerLimit = 16384;  // as HTTP/1's
constexpr uint32_t kTrailerCount = 1000;
constexpr uint32_t kMostContinuations = 8;
constexpr uint32_t kLargestFrame = 16384;  // SETTINGS_MAX_FRAME_SIZE: we leave it as it is

enum NameClass : uint8_t { kFine = 0, kUnderscore = 1, kOdd = 2, kBad = 4 };

constexpr std::array<uint8_t, 256> make_name_classes() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    const bool fine = (c >= 'a' && c <= 'z') || c == '-' || (c >= '0' && c <= '9');
    const bool bad = c <= 0x20 || c >= 0x7f || c == ':' || (c >= 'A' && c <= 'Z');
    table[c] = fine ? kFine : bad ? kBad : c == '_' ? kUnderscore : kOdd;
  }
  return table;
}
constexpr std::array<uint8_t, 256> kNameClasses = make_name_classes();

// Eight bytes at once: is one of them below `limit` (128 at most)?
bool has_byte_below(const char* at, uint8_t limit) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return ((word - kOnes * limit) & ~word & (kOnes << 7)) != 0;
}

bool is_valid(std::string_view value) {
  for (char c : value) {
    if (c == '\0' || c == '\n' || c == '\r') return false;
  }
  return true;
}

}  // namespace

NameVerdict judge_name(std::string_view name, bool allow_underscores) {
  unsigned seen = 0;
  for (char c : name) seen |= kNameClasses[static_cast<unsigned char>(c)];
  if ((seen & kBad) != 0) return NameVerdict::invalid;
  const unsigned odd = allow_underscores ? kOdd : kOdd | kUnderscore;
  return (seen & odd) != 0 ? NameVerdict::odd : NameVerdict::valid;
}

bool is_valid_value(std::string_view value) {
  if (value.size() < sizeof(uint64_t)) return is_valid(value);
  const char* const last = value.data() + value.size() - sizeof(uint64_t);
  for (const char* at = value.data(); at < last; at += sizeof(uint64_t)) {
    if (has_byte_below(at, 0x10)) return is_valid(value);
  }
  return !has_byte_below(last, 0x10) || is_valid(value);  // overlaps the one before
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

bool has_outer_blanks(std::string_view value) {
  return !value.empty() && (is_blank(value.front()) || is_blank(value.back()));
}

std::string_view without_outer_blanks(std::string_view value) {
  while (!value.empty() && is_blank(value.front())) value.remove_prefix(1);
  while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
  return value;
}

Multiplexer::Multiplexer(CodecReceiver& receiver, Role role)
    : receiver_(receiver), role_(role), tracker_(role == Role::server ? kPreface.size() : 0) {}

Multiplexer::~Multiplexer() {
  for (Slot& slot : slots_) delete slot.stream;
}

// --- streams

Stream* Multiplexer::make_stream() {
  constexpr size_t kMostSlots = 65536;
  size_t at = first_free_;
  while (at < slots_.size() && slots_[at].stream != nullptr) ++at;
  first_free_ = at;
  if (at == kMostSlots) return nullptr;
  if (at == slots_.size()) slots_.emplace_back();
  Slot& slot = slots_[at];
  if (++slot.serial == 0) slot.serial = 1;
  slot.stream = new Stream;
  slot.stream->handle = static_cast<StreamId>(slot.serial) << 16 | static_cast<StreamId>(at);
  ++held_;
  return slot.stream;
}

Stream* Multiplexer::find(StreamId handle) const {
  const size_t at = handle & 0xffff;
  if (at >= slots_.size() || slots_[at].serial != handle >> 16) return nullptr;
  return slots_[at].stream;
}

Stream* Multiplexer::of_number(int32_t number) const {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session_, number));
}

void Multiplexer::release(Stream& stream) {
  if (!stream.closed && stream.number > 0) {
    nghttp2_session_set_stream_user_data(session_, stream.number, nullptr);
  }
  if (heading_ == &stream) heading_ = nullptr;
  const size_t at = stream.handle & 0xffff;
  slots_[at].stream = nullptr;
  first_free_ = std::min(first_free_, at);
  --held_;
  delete &stream;
}

void Multiplexer::forget(StreamId handle) {
  Stream* stream = find(handle);
  if (stream == nullptr || stream->forgotten) return;
  stream->forgotten = true;
  stream->told = true;
  stream->arena = nullptr;
  stream->head = nullptr;
  if (dead_ || stream->closed || stream->number < 0) {
    if (!dead_ && stream->owed > 0) {
      nghttp2_session_consume_connection(session_, stream->owed);
      want_pump_ = true;
    }
    release(*stream);
    return;
  }
  if (stream->owed > 0) nghttp2_session_consume_connection(session_, stream->owed);
  stream->owed = 0;
  want_pump_ = true;
  // A window holds back nothing but the end: it goes when that opens.
  if (stream->finish && stream->input_ended) return;
  uint32_t code = NGHTTP2_NO_ERROR;
  if (!stream->output_ended && !stream->finish) {
    code = role_ == Role::client ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR;
  } else if (role_ == Role::client && !stream->input_ended) {
    code = NGHTTP2_CANCEL;
  }
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->number, code);
  pump();
}

uint64_t Multiplexer::stream_bytes(StreamId handle) const {
  const Stream* stream = find(handle);
  return stream == nullptr ? 0 : stream->sent;
}

bool Multiplexer::is_blocked(StreamId handle) const {
  const Stream* stream = find(handle);
  return stream != nullptr && stream->blocked;
}

// --- receiving

size_t Multiplexer::feed(const Slice& bytes) {
  if (dead_ || bytes.empty()) return bytes.size();
  if (!watch_frames(bytes.view())) return bytes.size();
  in_feed_ = true;
  feeding_ = &bytes;
  const ssize_t used = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  feeding_ = nullptr;
  in_feed_ = false;
  want_pump_ = true;
  if (used < 0) {
    const bool flooded = used == NGHTTP2_ERR_FLOODED || used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    error_ = flooded ? "http2 flood detected: too many frames of a header or in answer"
             : used == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? "client sent invalid http2 preface"
                                                    : nghttp2_strerror(static_cast<int>(used));
    nghttp2_session_terminate_session(session_,
                                      flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
  }
  after_input();
  return bytes.size();
}

// What nghttp2 asked for by itself goes out; a session that it has ended is no more.
void Multiplexer::after_input() {
  if (dead_) return;
  pump();
  if (dead_) return;
  if (settings_changed_) {
    settings_changed_ = false;
    settings_received_ = true;
    receiver_.on_settings();
  }
  if (windows_opened_ && !dead_) tell_windows();
}

bool Multiplexer::watch_frames(std::string_view bytes) {
  FrameHead frame;
  while (tracker_.next(bytes, frame)) {
    using Kind = FloodGuard::Kind;
    size_t payload = 0;
    bool within = true;
    if (!has_valid_size(frame)) return false;
    switch (frame.type) {
      case FrameType::data:
        payload = frame.length;
        if (frame.length == 0 && !frame.has(kEndStream)) within = take_token(Kind::empty);
        break;
      case FrameType::headers:
      case FrameType::continuation:
        continuations_ = frame.type == FrameType::headers ? 0 : continuations_ + 1;
        if (continuations_ > kMostContinuations) {
          flood("http2 flood detected: too many CONTINUATION frames");
          return false;
        }
        payload = frame.length;
        if (frame.length == 0 && !frame.has(kEndHeaders)) within = take_token(Kind::empty);
        break;
      case FrameType::rst_stream:
        within = role_ == Role::client || take_token(Kind::reset);
        break;
      case FrameType::settings:
        within = frame.has(kAck) || take_token(Kind::settings);
        break;
      case FrameType::ping:
        within = frame.has(kAck) || take_token(Kind::ping);
        break;
      case FrameType::window_update:
        within = take_token(Kind::window);
        break;
      case FrameType::goaway:
      case FrameType::push_promise:
        break;
      default:
        within = take_token(Kind::other);
        break;
    }
    if (!within) return false;
    if (!guard_.count(9 + frame.length, payload)) {
      flood("http2 flood detected");
      return false;
    }
  }
  return true;
}

// What nghttp2 does not see or sees as another error (RFC 9113 section 4.2).
bool Multiplexer::has_valid_size(const FrameHead& frame) {
  const bool padded =
      (frame.type == FrameType::data || frame.type == FrameType::headers) && frame.has(kPadded);
  const bool too_large = frame.type == FrameType::continuation && frame.length > kLargestFrame;
  if (!too_large && !(padded && frame.length == 0)) return true;
  break_off(role_ == Role::server ? "client sent frame with incorrect length"
                                  : "upstream sent frame with incorrect length",
            NGHTTP2_FRAME_SIZE_ERROR);
  return false;
}

bool Multiplexer::take_token(FloodGuard::Kind kind) {
  if (guard_.take(kind, receiver_.now())) return true;
  flood(FloodGuard::describe(kind));
  return false;
}

void Multiplexer::flood(const char* reason) {
  break_off(reason, NGHTTP2_ENHANCE_YOUR_CALM);
}

void Multiplexer::break_off(const char* reason, uint32_t code) {
  if (dead_) return;
  nghttp2_session_terminate_session(session_, code);
  error_ = reason;
  want_pump_ = true;
  if (in_feed_ || pumping_) return;  // after_input() sees it
  pump();
}

void Multiplexer::end_of_input() {
  if (dead_) return;
  dead_ = true;
  if (role_ == Role::server && held_ > 0) {
    receiver_.on_connection_error("client prematurely closed connection");
  }
  for (size_t i = 0; i < slots_.size(); ++i) {
    Stream* stream = slots_[i].stream;
    if (stream == nullptr || stream->told) continue;
    const bool answered = stream->head != nullptr;
    if (role_ == Role::server) {
      tell_reset(*stream, Reset::Cause::peer_reset, 0, "");
    } else if (!stream->input_ended) {
      tell_reset(*stream, Reset::Cause::peer_reset, 502,
                 answered ? "upstream prematurely closed connection while reading upstream"
                          : "upstream prematurely closed connection while reading response header "
                            "from upstream",
                 0, !answered);
    }
  }
}

// The connection broke the protocol, or too many limits.
void Multiplexer::fail(const char* reason) {
  if (dead_) return;
  dead_ = true;
  receiver_.on_connection_error(reason);
  for (size_t i = 0; i < slots_.size(); ++i) {
    Stream* stream = slots_[i].stream;
    if (stream == nullptr || stream->told) continue;
    if (role_ == Role::client && stream->input_ended) continue;
    tell_reset(
        *stream, Reset::Cause::peer_reset, role_ == Role::client ? 502 : 0,
        role_ == Role::client ? "upstream sent invalid http2 frame while reading upstream" : "");
  }
}

void Multiplexer::tell_reset(Stream& stream, Reset::Cause cause, int status, const char* reason,
                             uint32_t code, bool retry_safe) {
  if (stream.told) return;
  stream.told = cause != Reset::Cause::malformed || role_ == Role::client;
  stream.drops_input = true;
  Reset reset;
  reset.cause = cause;
  reset.status = status;
  reset.reason = reason;
  reset.code = code;
  reset.retry_safe = retry_safe;
  reset.head = role_ == Role::server && !stream.head_done ? stream.head : nullptr;
  receiver_.on_reset(stream.handle, reset);
}

void Multiplexer::refuse_stream(int32_t number, uint32_t code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, number, code);
  want_pump_ = true;
}

void Multiplexer::take_trailer(Stream& stream, std::string_view name, std::string_view value) {
  stream.field_bytes += static_cast<uint32_t>(name.size() + value.size() + 4);
  const bool too_much = stream.field_bytes > kTrailerLimit || ++stream.field_count > kTrailerCount;
  // Backends may write a message that ends with a blank into grpc-message.
  if (role_ == Role::client) value = without_outer_blanks(value);
  const HeaderId id = find_header_id(name);
  if (too_much || name.empty() || name.starts_with(':') ||
      judge_name(name, true) == NameVerdict::invalid || !is_valid_value(value) ||
      has_outer_blanks(value) || (is_hop_by_hop(id) && id != HeaderId::trailer)) {
    stream.refused = role_ == Role::client ? 502 : 400;
    return;
  }
  Arena& arena = *stream.arena;
  if (stream.trailers == nullptr) stream.trailers = arena.make<HeaderList>();
  stream.trailers->add(arena, Header{arena.copy(name), arena.copy(value), id, stream.field_secret});
}

void Multiplexer::on_trailing_headers(Stream& stream) {
  if (stream.refused != 0) {
    tell_reset(stream, Reset::Cause::malformed, stream.refused,
               role_ == Role::client ? "upstream sent invalid trailer while reading upstream"
                                     : "client sent invalid trailer");
    refuse_stream(stream.number, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  if (stream.trailers != nullptr) receiver_.on_trailers(stream.handle, *stream.trailers);
}

// RFC 9113 section 8.1.1: the sum of DATA is what content-length says.
void Multiplexer::finish_input(Stream& stream) {
  if (stream.input_ended) return;
  stream.input_ended = true;
  stream.tail = nullptr;
  if (stream.told || stream.drops_input) return;
  if (!stream.head_done) {
    tell_reset(stream, Reset::Cause::malformed, 502,
               "upstream ended its stream without a response while reading response header from "
               "upstream");
    return;
  }
  const BodyLength& body = stream.head->body;
  if (body.kind == BodyLength::Kind::exact && stream.received < body.bytes) {
    tell_reset(stream, Reset::Cause::malformed, role_ == Role::client ? 502 : 400,
               role_ == Role::client
                   ? "upstream prematurely closed stream while reading upstream"
                   : "client prematurely closed stream: its body is shorter than declared");
    if (role_ == Role::client) refuse_stream(stream.number, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  receiver_.on_end(stream.handle);
}

Slice Multiplexer::body_slice(Stream& stream, const char* data, size_t size) {
  if (size >= kSmallPiece && feeding_ != nullptr && feeding_->block()) {
    return Slice(feeding_->block(), data, size);
  }
  // Small pieces must not keep 32 KB each.
  if (!stream.tail || stream.tail->capacity() - stream.tail_used < size) {
    stream.tail = Block::take(std::max(size, kSmallPiece));
    stream.tail_used = 0;
  }
  char* to = stream.tail->data() + stream.tail_used;
  std::memcpy(to, data, size);
  stream.tail_used += static_cast<uint32_t>(size);
  return Slice(stream.tail, to, size);
}

void Multiplexer::on_data_chunk(int32_t number, const uint8_t* data, size_t size) {
  Stream* stream = of_number(number);
  if (stream == nullptr || stream->told || stream->drops_input) {
    nghttp2_session_consume(session_, number, size);
    return;
  }
  stream->received += size;
  if (!stream->head_done) {
    nghttp2_session_consume(session_, number, size);
    tell_reset(*stream, Reset::Cause::malformed, 502,
               "upstream sent data before its response head while reading response header from "
               "upstream");
    refuse_stream(number, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  const BodyLength& body = stream->head->body;
  const bool too_much = body.kind == BodyLength::Kind::none ||
                        (body.kind == BodyLength::Kind::exact && stream->received > body.bytes);
  if (too_much) {
    nghttp2_session_consume(session_, number, size);
    tell_reset(*stream, Reset::Cause::malformed, role_ == Role::client ? 502 : 400,
               role_ == Role::client
                   ? "upstream sent more data than specified in \"Content-Length\" header while "
                     "reading upstream"
                   : "client intended to send body data larger than declared");
    if (role_ == Role::client) refuse_stream(number, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  stream->owed += static_cast<uint32_t>(size);
  receiver_.on_data(stream->handle, body_slice(*stream, reinterpret_cast<const char*>(data), size));
}

void Multiplexer::consumed(StreamId handle, size_t bytes) {
  Stream* stream = find(handle);
  if (stream == nullptr || dead_ || bytes == 0) return;
  bytes = std::min<size_t>(bytes, stream->owed);
  stream->owed -= static_cast<uint32_t>(bytes);
  if (stream->closed) {
    nghttp2_session_consume_connection(session_, bytes);
  } else {
    nghttp2_session_consume(session_, stream->number, bytes);
  }
  want_pump_ = true;
}

void Multiplexer::widen_window(StreamId handle) {
  constexpr int32_t kWide = 1024 * 1024;
  Stream* stream = find(handle);
  if (stream == nullptr || stream->closed || stream->input_ended || dead_) return;
  if (nghttp2_session_get_stream_effective_local_window_size(session_, stream->number) >= kWide) {
    return;
  }
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, stream->number, kWide);
  want_pump_ = true;
}

// What nghttp2 is milder about than RFC 9113 (sections 5.1.1, 6.3).
void Multiplexer::on_frame_head(const nghttp2_frame_hd& head) {
  const char* wrong = nullptr;
  if (head.type == NGHTTP2_SETTINGS) note_windows();
  if (head.type == NGHTTP2_HEADERS) head_bytes_ = static_cast<uint32_t>(head.length);
  if (head.type == NGHTTP2_CONTINUATION) head_bytes_ += static_cast<uint32_t>(head.length);
  if (head.type == NGHTTP2_PRIORITY && head.stream_id == 0) {
    wrong = "client sent PRIORITY frame with incorrect identifier";
  } else if (head.type == NGHTTP2_HEADERS && role_ == Role::server) {
    if (head.stream_id > last_number_) {
      last_number_ = head.stream_id;
    } else if (head.stream_id % 2 == 1 && of_number(head.stream_id) == nullptr &&
               std::find(cut_short_.begin(), cut_short_.end(), head.stream_id) ==
                   cut_short_.end()) {
      wrong = "client sent HEADERS frame with incorrect identifier";
    }
  }
  if (wrong == nullptr) return;
  error_ = wrong;
  nghttp2_session_terminate_session(session_, NGHTTP2_PROTOCOL_ERROR);
}

// Ahead of SETTINGS: what check_windows() needs.
void Multiplexer::note_windows() {
  first_window_ =
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
  widest_window_ = 0;
  for (const Slot& slot : slots_) {
    const Stream* stream = slot.stream;
    if (stream == nullptr || stream->number < 0 || stream->closed) continue;
    widest_window_ = std::max(
        widest_window_, nghttp2_session_get_stream_remote_window_size(session_, stream->number));
  }
}

// RFC 9113 section 6.9.2: a window above 2^31-1 is an error of the connection. nghttp2 resets the
// streams.
void Multiplexer::check_windows() {
  const int64_t first =
      nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
  if (widest_window_ + first - first_window_ <= INT32_MAX) return;
  break_off(role_ == Role::server ? "client sent SETTINGS frame with too large initial window"
                                  : "upstream sent SETTINGS frame with too large initial window",
            NGHTTP2_FLOW_CONTROL_ERROR);
}

void Multiplexer::on_frame(const nghttp2_frame& frame) {
  const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS: {
      head_bytes_ -= static_cast<uint32_t>(frame.headers.padlen);
      if ((frame.hd.flags & NGHTTP2_FLAG_PRIORITY) != 0) head_bytes_ -= 5;
      Stream* stream = of_number(frame.hd.stream_id);
      if (stream == nullptr || stream->told) break;
      if (!stream->head_done) {
        on_headers(*stream, end);
      } else if (!end) {
        tell_reset(*stream, Reset::Cause::malformed, role_ == Role::client ? 502 : 400,
                   role_ == Role::client
                       ? "upstream sent trailers that do not end the stream while reading upstream"
                       : "client sent trailers that do not end the stream");
        refuse_stream(stream->number, NGHTTP2_PROTOCOL_ERROR);
      } else if (!stream->drops_input) {
        on_trailing_headers(*stream);
      }
      // The stream may be gone by now only through release(), which waits for forget().
      if (end) finish_input(*stream);
      break;
    }
    case NGHTTP2_DATA:
      if (end) {
        if (Stream* stream = of_number(frame.hd.stream_id)) finish_input(*stream);
      }
      break;
    case NGHTTP2_WINDOW_UPDATE:
      windows_opened_ = true;
      break;
    case NGHTTP2_SETTINGS:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        check_windows();
        windows_opened_ = true;
        settings_changed_ = true;
      }
      break;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) on_ping_answered();
      break;
    case NGHTTP2_GOAWAY:
      goaway_received_ = true;
      receiver_.on_goaway(static_cast<StreamId>(frame.goaway.last_stream_id));
      break;
    default:
      break;
  }
}

const char* Multiplexer::describe_cancel(Stream& stream, uint32_t code) {
  const std::string number = std::to_string(stream.number);
  ArenaText text(*stream.arena, 64);
  text.append(code == NGHTTP2_CANCEL           ? "client canceled stream "
              : code == NGHTTP2_REFUSED_STREAM ? "client refused stream "
              : code == NGHTTP2_INTERNAL_ERROR ? "client terminated stream "
                                               : "client closed stream ");
  text.append(number);
  if (code != NGHTTP2_CANCEL && code != NGHTTP2_REFUSED_STREAM && code != NGHTTP2_NO_ERROR) {
    text.append(" with status ");
    text.append(std::to_string(code));
  }
  text.push_back('\0');
  return text.view().data();
}

void Multiplexer::on_close(int32_t number, uint32_t code) {
  Stream* stream = of_number(number);
  if (stream == nullptr) return;
  stream->closed = true;
  stream->blocked = false;
  stream->tail = nullptr;
  --open_;
  if (stream->input_ended && stream->output_ended && stream->refused == 0) guard_.finished_stream();
  on_stream_gone(*stream);
  if (stream->forgotten) {
    release(*stream);
    return;
  }
  const bool whole = stream->input_ended && (stream->output_ended || role_ == Role::client);
  if (stream->told || whole) return;
  if (role_ == Role::server) {
    tell_reset(*stream, Reset::Cause::peer_reset, 0, describe_cancel(*stream, code), code);
  } else if (code == NGHTTP2_REFUSED_STREAM) {
    tell_reset(*stream, Reset::Cause::refused, 502, "upstream refused stream", code, true);
  } else {
    tell_reset(*stream, Reset::Cause::peer_reset, 502,
               stream->head != nullptr
                   ? "upstream reset stream while reading upstream"
                   : "upstream reset stream while reading response header from upstream",
               code);
  }
}

// The peer's windows opened: streams that wait for them go on, in turn.
void Multiplexer::tell_windows() {
  windows_opened_ = false;
  const size_t count = slots_.size();
  uint32_t first = 0;
  bool any = false;
  for (size_t i = 1; i <= count && !dead_; ++i) {
    const size_t at = (first_told_ + i) % count;
    Stream* stream = slots_[at].stream;
    if (stream == nullptr || !stream->blocked || stream->told) continue;
    if (nghttp2_session_get_remote_window_size(session_) <= 0) break;
    if (nghttp2_session_get_stream_remote_window_size(session_, stream->number) <= 0) continue;
    if (!any) first = static_cast<uint32_t>(at);
    any = true;
    stream->blocked = false;
    receiver_.on_writable(stream->handle);
  }
  if (any) first_told_ = first;
}

}  // namespace weir::http::h2
