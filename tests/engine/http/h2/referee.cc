#include "tests/engine/http/h2/referee.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <set>
#include <vector>

#include "engine/http/h2/codec.h"

namespace weir::http::h2::test {
namespace {

enum Type : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kReset,
  kSettings,
  kPush,
  kPing,
  kGoaway,
  kWindow,
  kContinuation,
};
constexpr uint8_t kEnd = 1, kAckFlag = 1, kEndHead = 4, kPadded = 8, kHasPriority = 32;
constexpr int64_t kMostWindow = 0x7fffffff;

uint32_t number(std::string_view text) {
  uint32_t value = 0;
  for (char c : text) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

}  // namespace

struct Referee::Inflater {
  Inflater() { nghttp2_hd_inflate_new(&native); }
  ~Inflater() { nghttp2_hd_inflate_del(native); }
  nghttp2_hd_inflater* native = nullptr;
  std::vector<std::pair<std::string, std::string>> fields;

  bool read(std::string_view block) {
    fields.clear();
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(native, &field, &flags, at, left, 1);
      if (used < 0) return false;
      at += used;
      left -= static_cast<size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        fields.emplace_back(std::string(reinterpret_cast<char*>(field.name), field.namelen),
                            std::string(reinterpret_cast<char*>(field.value), field.valuelen));
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) return false;
    }
    nghttp2_hd_inflate_end_headers(native);
    return true;
  }
};

Referee::Referee(Role role) : role_(role), inflater_(std::make_unique<Inflater>()) {}
Referee::~Referee() = default;

const std::map<std::string, std::string>& Referee::rules() {
  static const std::map<std::string, std::string> known = {
      {"settings-first", "the first frame is SETTINGS, a client's behind its preface"},
      {"frame-size", "no frame is larger than the peer allows"},
      {"flags", "flags without meaning are unset"},
      {"reserved-bit", "the reserved bit is unset"},
      {"block-whole", "nothing stands between HEADERS and CONTINUATION"},
      {"stream-number", "frames of the connection have stream 0, those of streams have not"},
      {"length", "frames of a fixed size have it"},
      {"state", "nothing is sent on idle or closed streams, nor behind END_STREAM"},
      {"reset-is-last", "nothing is sent behind RST_STREAM, of either side"},
      {"reset-for-reset", "RST_STREAM does not answer RST_STREAM"},
      {"head-first", "DATA comes behind a final head"},
      {"windows", "DATA stays within both windows"},
      {"window-update", "increments are not 0, the window stays below 2^31"},
      {"no-push", "PUSH_PROMISE is not sent"},
      {"settings-values", "settings have values that are allowed"},
      {"numbers-grow", "a client's streams have odd numbers, and they grow"},
      {"streams-limit", "no more streams at once than the peer allows"},
      {"goaway-shrinks", "the last stream in GOAWAY does not grow"},
      {"goaway-obeyed", "no streams are opened behind GOAWAY"},
      {"names", "names are in lower case, and without what they may not have"},
      {"values", "values have no NUL, no line ends, no blanks at their ends"},
      {"connection-fields", "fields of one connection are not sent"},
      {"pseudo-fields", "pseudo-fields are the right ones, come first and once"},
      {"trailers", "trailers end the stream and have no pseudo-fields"},
      {"compression", "header blocks can be unpacked with the table that the peer set"},
      {"settings-ack", "SETTINGS are acknowledged, each once"},
      {"ping-ack", "PING is answered with its bytes, an answer is not"},
      {"padding", "padding is zero"},
      {"silence", "nothing comes behind GOAWAY with an error"},
      {"no-extension", "frames of unknown types are not sent"},
  };
  return known;
}

void Referee::fail(const char* rule, const std::string& what) {
  if (!rules().contains(rule)) problem_ = "no such rule: ";
  if (problem_.empty()) problem_ = rule + (": " + what);
}

bool Referee::cut(std::string& bytes, std::string& payload, Frame& frame) {
  if (bytes.size() < 9) return false;
  const uint32_t length = number(std::string_view(bytes).substr(0, 3));
  if (bytes.size() < 9 + length) return false;
  frame.type = static_cast<uint8_t>(bytes[3]);
  frame.flags = static_cast<uint8_t>(bytes[4]);
  const uint32_t stream = number(std::string_view(bytes).substr(5, 4));
  frame.reserved = (stream & 0x80000000) != 0;
  frame.stream = stream & 0x7fffffff;
  payload = bytes.substr(9, length);
  frame.payload = payload;
  bytes.erase(0, 9 + length);
  return true;
}

// --- what the peer sends

void Referee::received(std::string_view bytes) {
  if (lost_) return;
  received_ += bytes;
  if (role_ == Role::server && !preface_in_) {
    const size_t size = std::min(received_.size(), kPreface.size());
    if (received_.compare(0, size, kPreface, 0, size) != 0) {
      lost_ = true;
      return;
    }
    if (size < kPreface.size()) return;
    preface_in_ = true;
    received_.erase(0, kPreface.size());
  }
  std::string payload;
  Frame frame;
  while (cut(received_, payload, frame)) on_received(frame);
  // A stream is there with the first bytes of its frame.
  if (received_.size() >= 9) {
    frame.type = static_cast<uint8_t>(received_[3]);
    frame.flags = 0;
    frame.stream = number(std::string_view(received_).substr(5, 4)) & 0x7fffffff;
    frame.payload = {};
    const bool promises = frame.type == kPush && received_.size() > 9;
    if (promises) {
      frame.flags = static_cast<uint8_t>(received_[4]);
      frame.payload = std::string_view(received_).substr(9);
    }
    if (promises || frame.type == kHeaders) on_received(frame);
  }
}

void Referee::on_received_settings(const Frame& frame) {
  if (frame.has(kAckFlag) || frame.stream != 0 || frame.payload.size() % 6 != 0) return;
  ++owed_acks_;
  for (size_t at = 0; at < frame.payload.size(); at += 6) {
    const uint32_t id = number(frame.payload.substr(at, 2));
    const uint32_t value = number(frame.payload.substr(at + 2, 4));
    if (id == 1) nghttp2_hd_inflate_change_table_size(inflater_->native, value);
    if (id == 3) stream_limit_ = value;
    if (id == 4 && value <= kMostWindow) {
      for (auto& [stream, state] : streams_) state.window += value - first_window_;
      first_window_ = value;
    }
    if (id == 5 && value >= 16384) frame_limit_ = value;
  }
}

void Referee::on_received(const Frame& frame) {
  auto found = streams_.find(frame.stream);
  switch (frame.type) {
    case kHeaders:
      if (role_ == Role::server && frame.stream > highest_ && !over_) {
        highest_ = frame.stream;
        found = streams_.try_emplace(frame.stream).first;
        found->second.window = first_window_;
      }
      [[fallthrough]];
    case kData:
      if (frame.type == kData) lent_ -= static_cast<int64_t>(frame.payload.size());
      if (found == streams_.end() || !frame.has(kEnd)) break;
      if (frame.type == kData || frame.has(kEndHead)) {
        found->second.received_end = true;
      } else {
        ending_ = frame.stream;
      }
      break;
    case kContinuation:
      if (frame.stream == ending_ && frame.has(kEndHead) && found != streams_.end()) {
        found->second.received_end = true;
        ending_ = 0;
      }
      break;
    case kReset:
      if (found != streams_.end() && frame.payload.size() == 4) {
        found->second.received_reset = true;
        found->second.crossing = true;
        crossing_.push_back(frame.stream);
      }
      break;
    case kPush: {
      const size_t at = frame.has(kPadded) ? 1 : 0;
      if (role_ == Role::client && frame.payload.size() >= at + 4) {
        streams_.try_emplace(number(frame.payload.substr(at, 4)) & 0x7fffffff);
      }
      break;
    }
    case kSettings:
      on_received_settings(frame);
      break;
    case kPing:
      if (!frame.has(kAckFlag)) pings_.emplace_back(frame.payload);
      break;
    case kGoaway:
      goaway_received_ = true;
      break;
    case kWindow:
      if (frame.payload.size() != 4) break;
      if (frame.stream == 0) {
        window_ += number(frame.payload) & 0x7fffffff;
      } else if (found != streams_.end()) {
        found->second.window += number(frame.payload) & 0x7fffffff;
      }
      break;
    default:
      break;
  }
}

// --- what we send

void Referee::sent(std::string_view bytes) {
  check_sent(bytes);
  for (uint32_t stream : crossing_) streams_[stream].crossing = false;
  crossing_.clear();
}

void Referee::check_sent(std::string_view bytes) {
  if (bytes.empty() || lost_) return;
  if (over_) return fail("silence", std::to_string(bytes.size()) + " bytes");
  sent_ += bytes;
  if (role_ == Role::client && !preface_out_) {
    if (!sent_.starts_with(kPreface)) return fail("settings-first", "no preface");
    preface_out_ = true;
    sent_.erase(0, kPreface.size());
  }
  std::string payload;
  Frame frame;
  while (cut(sent_, payload, frame)) on_sent(frame);
  if (!sent_.empty()) fail("length", "half a frame");
}

void Referee::on_sent(const Frame& frame) {
  if (!begun_ && (frame.type != kSettings || frame.has(kAckFlag))) {
    fail("settings-first", "type " + std::to_string(frame.type));
  }
  begun_ = true;
  if (over_) fail("silence", "type " + std::to_string(frame.type));
  check_shape(frame);
  if (frame.stream != 0 && frame.type <= kContinuation) check_stream(frame);
  switch (frame.type) {
    case kData:
      on_sent_data(frame);
      break;
    case kHeaders:
    case kContinuation:
      on_sent_headers(frame);
      break;
    case kReset:
      streams_[frame.stream].sent_reset = true;
      break;
    case kSettings:
      on_sent_settings(frame);
      break;
    case kPush:
      fail("no-push", "stream " + std::to_string(frame.stream));
      break;
    case kPing:
      if (!frame.has(kAckFlag)) break;
      if (pings_.empty() || pings_.front() != frame.payload) {
        fail("ping-ack", std::string(frame.payload));
      } else {
        pings_.pop_front();
      }
      break;
    case kGoaway:
      on_sent_goaway(frame);
      break;
    case kWindow: {
      const uint32_t increment = number(frame.payload);
      if (increment == 0 || increment > kMostWindow) {
        fail("window-update", std::to_string(increment));
      }
      if (frame.stream == 0 && (lent_ += increment) > kMostWindow) {
        fail("window-update", "the window is " + std::to_string(lent_));
      }
      break;
    }
    default:
      break;
  }
}

void Referee::check_shape(const Frame& frame) {
  static constexpr uint8_t kFlags[] = {kEnd | kPadded,
                                       kEnd | kEndHead | kPadded | kHasPriority,
                                       0,
                                       0,
                                       kAckFlag,
                                       kEndHead | kPadded,
                                       kAckFlag,
                                       0,
                                       0,
                                       kEndHead};
  const std::string name = "type " + std::to_string(frame.type);
  if (frame.type > kContinuation) return fail("no-extension", name);
  if (frame.payload.size() > frame_limit_) {
    fail("frame-size", name + " of " + std::to_string(frame.payload.size()));
  }
  if ((frame.flags & ~kFlags[frame.type]) != 0) fail("flags", name);
  if (frame.reserved) fail("reserved-bit", name);
  if (heading_ != 0 && (frame.type != kContinuation || frame.stream != heading_)) {
    fail("block-whole", name);
  }
  const bool of_connection =
      frame.type == kSettings || frame.type == kPing || frame.type == kGoaway;
  if (frame.type != kWindow && of_connection != (frame.stream == 0)) fail("stream-number", name);
  const size_t size = frame.payload.size();
  const bool right = frame.type == kPriority                          ? size == 5
                     : frame.type == kReset || frame.type == kWindow  ? size == 4
                     : frame.type == kSettings && frame.has(kAckFlag) ? size == 0
                     : frame.type == kSettings                        ? size % 6 == 0
                     : frame.type == kPing                            ? size == 8
                     : frame.type == kGoaway                          ? size >= 8
                                                                      : true;
  if (!right) fail("length", name + " of " + std::to_string(size));
}

void Referee::check_stream(const Frame& frame) {
  const std::string name =
      "type " + std::to_string(frame.type) + " on stream " + std::to_string(frame.stream);
  auto found = streams_.find(frame.stream);
  if (found == streams_.end()) {
    if (role_ == Role::server || frame.type != kHeaders) {
      fail("state", name + ", which is idle");
      return;
    }
    if (frame.stream % 2 == 0 || frame.stream <= highest_) fail("numbers-grow", name);
    if (goaway_received_) fail("goaway-obeyed", name);
    highest_ = frame.stream;
    streams_[frame.stream].window = first_window_;
    if (open_streams() > stream_limit_) fail("streams-limit", name);
    return;
  }
  const Stream& stream = found->second;
  if (stream.crossing && !stream.sent_reset && frame.type == kReset) return;
  if (stream.received_reset && frame.type == kReset) fail("reset-for-reset", name);
  if (stream.received_reset || stream.sent_reset) fail("reset-is-last", name);
  if (stream.sent_end && (frame.type == kData || frame.type == kHeaders)) {
    fail("state", name + " behind END_STREAM");
  }
  // RST_STREAM may say that it is closed, or what was wrong with its last frame (RFC 9113 sections
  // 6.1 and 8.1.1).
  const uint32_t code = frame.type == kReset ? number(frame.payload) : 0;
  const bool says_so = code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_PROTOCOL_ERROR ||
                       code == NGHTTP2_FLOW_CONTROL_ERROR;
  if (stream.over() && !says_so && frame.type != kContinuation) {
    fail("state", name + ", which is closed");
  }
}

std::string_view Referee::fragment(const Frame& frame) {
  std::string_view text = frame.payload;
  if (frame.type == kContinuation) return text;
  if (frame.has(kPadded)) {
    const auto pad = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    if (text.substr(text.size() - pad).find_first_not_of('\0') != std::string_view::npos) {
      fail("padding", "stream " + std::to_string(frame.stream));
    }
    text.remove_suffix(pad);
  }
  if (frame.type == kHeaders && frame.has(kHasPriority)) text.remove_prefix(5);
  return text;
}

void Referee::on_sent_headers(const Frame& frame) {
  if (frame.type == kHeaders) {
    block_.clear();
    heading_end_ = frame.has(kEnd);
  } else if (heading_ == 0) {
    fail("block-whole", "CONTINUATION without HEADERS");
  }
  block_ += fragment(frame);
  heading_ = frame.has(kEndHead) ? 0 : frame.stream;
  if (heading_ == 0) on_sent_block(frame.stream, heading_end_);
}

void Referee::on_sent_block(uint32_t number, bool end) {
  Stream& stream = streams_[number];
  if (!inflater_->read(block_)) return fail("compression", "stream " + std::to_string(number));
  check_fields(stream, end);
  if (end) stream.sent_end = true;
}

void Referee::check_fields(Stream& stream, bool end) {
  static const std::set<std::string> kOfRequests = {":method", ":scheme", ":authority", ":path",
                                                    ":protocol"};
  std::set<std::string> pseudo;
  bool regular = false;
  std::string status;
  for (const auto& [name, value] : inflater_->fields) {
    check_field(name, value);
    if (!name.starts_with(':')) {
      regular = true;
      continue;
    }
    const bool known = role_ == Role::client ? kOfRequests.contains(name) : name == ":status";
    if (regular || !known || !pseudo.insert(name).second) fail("pseudo-fields", name);
    if (name == ":status") status = value;
  }
  if (stream.headed) {
    if (!end || !pseudo.empty()) fail("trailers", "no END_STREAM, or pseudo-fields");
    return;
  }
  if (role_ == Role::client) {
    if (pseudo.size() < 3 || !pseudo.contains(":method")) fail("pseudo-fields", "too few");
    stream.headed = true;
    return;
  }
  if (status.size() != 3 || status == "101") fail("pseudo-fields", ":status=" + status);
  stream.headed = status[0] != '1';
  if (!stream.headed && end) fail("state", "END_STREAM with an interim response");
}

void Referee::check_field(std::string_view name, std::string_view value) {
  static const std::set<std::string_view> kOfConnections = {
      "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};
  const std::string text = std::string(name) + "=" + std::string(value);
  if (name.empty()) fail("names", text);
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (c <= 0x20 || c >= 0x7f || (c >= 'A' && c <= 'Z') || (c == ':' && i > 0)) {
      fail("names", text);
    }
  }
  if (value.find_first_of(std::string_view("\0\r\n", 3)) != std::string_view::npos) {
    fail("values", text);
  }
  auto blank = [](char c) { return c == ' ' || c == '\t'; };
  if (!value.empty() && (blank(value.front()) || blank(value.back()))) fail("values", text);
  if (kOfConnections.contains(name) || (name == "te" && value != "trailers")) {
    fail("connection-fields", text);
  }
}

void Referee::on_sent_data(const Frame& frame) {
  Stream& stream = streams_[frame.stream];
  const auto size = static_cast<int64_t>(frame.payload.size());
  if (!stream.headed) fail("head-first", "stream " + std::to_string(frame.stream));
  if (size > 0 && (size > stream.window || size > window_)) {
    fail("windows", std::to_string(size) + " bytes, the stream's window has " +
                        std::to_string(stream.window) + ", the connection's " +
                        std::to_string(window_));
  }
  stream.window -= size;
  window_ -= size;
  fragment(frame);
  if (frame.has(kEnd)) stream.sent_end = true;
}

void Referee::on_sent_settings(const Frame& frame) {
  if (frame.has(kAckFlag)) {
    if (--owed_acks_ < 0) fail("settings-ack", "one too many");
    return;
  }
  for (size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
    const uint32_t id = number(frame.payload.substr(at, 2));
    const uint32_t value = number(frame.payload.substr(at + 2, 4));
    const bool wrong = (id == 2 && (value > 1 || (role_ == Role::server && value == 1))) ||
                       (id == 4 && value > kMostWindow) ||
                       (id == 5 && (value < 16384 || value > 16777215)) || (id == 8 && value > 1) ||
                       (id == 9 && value > 1);
    if (wrong) fail("settings-values", std::to_string(id) + "=" + std::to_string(value));
  }
}

void Referee::on_sent_goaway(const Frame& frame) {
  const uint32_t last = number(frame.payload.substr(0, 4)) & 0x7fffffff;
  if (last > goaway_last_) fail("goaway-shrinks", std::to_string(last));
  goaway_last_ = last;
  if (number(frame.payload.substr(4, 4)) != NGHTTP2_NO_ERROR) over_ = true;
}

size_t Referee::open_streams() const {
  return static_cast<size_t>(std::count_if(streams_.begin(), streams_.end(),
                                           [](const auto& one) { return !one.second.over(); }));
}

void Referee::finish() {
  if (over_ || lost_) return;
  if (owed_acks_ != 0) fail("settings-ack", std::to_string(owed_acks_) + " missing");
  if (!pings_.empty()) fail("ping-ack", "missing");
  if (heading_ != 0) fail("block-whole", "a head without end");
}

}  // namespace weir::http::h2::test
