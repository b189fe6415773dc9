#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/h1/codec.h"

namespace weir::http::h1 {

// Writes down what a codec tells, as text: one word or phrase per event, adjacent data joined.
class Recorder : public CodecReceiver {
 public:
  Arena& on_begin(StreamId stream) override {
    note("begin" + std::to_string(stream));
    return arena;
  }
  void on_interim(StreamId, MessageHead& head) override {
    note("interim " + std::to_string(head.status));
  }
  void on_head(StreamId stream, MessageHead& head) override {
    last = &head;
    request = head.status == 0;
    std::string text = "head";
    text += head.status == 0
                ? " " + std::string(head.method_text) + " " + std::string(head.target) + " " +
                      std::to_string(static_cast<int>(head.version)) +
                      " host=" + std::string(head.host)
                : " " + std::to_string(head.status) +
                      std::string(head.reason.substr(std::min<size_t>(head.reason.size(), 3)));
    for (const Header& header : head.headers) {
      if (header.id == HeaderId::host) continue;
      text += " [" + std::string(header.name) + "=" + std::string(header.value) + "]";
    }
    switch (head.body.kind) {
      case BodyLength::Kind::none:
        break;
      case BodyLength::Kind::exact:
        text += " exact " + std::to_string(head.body.bytes);
        break;
      case BodyLength::Kind::chunked:
        text += " chunked";
        break;
      case BodyLength::Kind::until_close:
        text += " until_close";
        break;
    }
    if (!head.keep_alive) text += " close";
    if (head.upgrade) text += " upgrade";
    if (head.expect_continue) text += " expect";
    note(text);
    (void)stream;
  }
  void on_data(StreamId stream, Slice data) override {
    if (!in_data_) events += events.empty() ? "data:" : " | data:";
    in_data_ = true;
    events += data.view();
    received += data.size();
    if (codec != nullptr && give_credit) codec->consumed(stream, data.size());
  }
  void on_trailers(StreamId, HeaderList& trailers) override {
    std::string text = "trailers";
    for (const Header& header : trailers) {
      text += " [" + std::string(header.name) + "=" + std::string(header.value) + "]";
    }
    note(text);
  }
  void on_end(StreamId) override {
    note("end");
    ended = true;
  }
  void on_upgraded(StreamId) override { note("upgraded"); }
  void on_reset(StreamId, const Reset& reset) override {
    reset_status = reset.status;
    refused = reset.head;
    reason = reset.reason;
    cause = reset.cause;
    retry_safe = reset.retry_safe;
    if (reset.head != nullptr) request_line = reset.head->request_line;
    note("reset " + std::to_string(reset.status));
  }
  void on_goaway(StreamId) override { note("goaway"); }
  void on_writable(StreamId) override {}

  void clear() {
    events.clear();
    in_data_ = false;
  }
  void note(const std::string& what) {
    if (!events.empty()) events += " | ";
    events += what;
    in_data_ = false;
  }

  Arena arena;
  Codec* codec = nullptr;
  MessageHead* last = nullptr;
  std::string events;
  std::string reason;
  std::string request_line;
  Reset::Cause cause = Reset::Cause::internal;
  int reset_status = 0;
  const MessageHead* refused = nullptr;
  size_t received = 0;
  bool retry_safe = false;
  bool request = false;
  bool ended = false;
  bool give_credit = true;

 private:
  bool in_data_ = false;
};

// Feeds text in pieces of `piece` bytes (0: at once), each in memory of its own that is gone after
// the call, as a read buffer is. Returns how much the codec took.
inline size_t feed_in_pieces(Codec& codec, std::string_view text, size_t piece) {
  size_t taken = 0;
  while (taken < text.size()) {
    size_t count = piece == 0 ? text.size() - taken : std::min(piece, text.size() - taken);
    std::unique_ptr<char[]> copy(new char[count]);
    std::memcpy(copy.get(), text.data() + taken, count);
    size_t used = codec.feed(Slice::borrowed({copy.get(), count}));
    taken += used;
    if (used < count) break;
  }
  return taken;
}

inline constexpr size_t kPieces[] = {0, 1, 2, 3, 7};

inline std::string take_output(Codec& codec) {
  std::string text;
  while (!codec.output().empty()) text += codec.output().take_front().view();
  return text;
}

}  // namespace weir::http::h1
