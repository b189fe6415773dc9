// The engine is ready for protocols with several streams: sessions and exchanges run on a codec
// made for this test, with two streams at once, back-pressure, resets, early answers and
// cancellation; and the same codec speaks the client's role.
//
// A frame is: stream (1 byte, 1 or 2 … 9), kind (1 byte), size (2 bytes, big endian), payload.
//   H head ("GET /path" or "200")  D data  E end  R reset  W window ("credit", 2 bytes)

#include <catch2/catch.hpp>
#include <deque>
#include <map>

#include "tests/engine/http/rig.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

constexpr size_t kWindow = 8192;

std::string frame(StreamId stream, char kind, std::string_view payload = {}) {
  std::string text;
  text.push_back(static_cast<char>('0' + stream));
  text.push_back(kind);
  text.push_back(static_cast<char>(payload.size() >> 8));
  text.push_back(static_cast<char>(payload.size() & 255));
  text += payload;
  return text;
}

class FrameCodec final : public Codec {
 public:
  FrameCodec(CodecReceiver& receiver, Role role) : receiver_(receiver), role_(role) {}

  size_t feed(const Slice& bytes) override {
    pending_ += bytes.view();
    while (pending_.size() >= 4) {
      size_t size =
          static_cast<unsigned char>(pending_[2]) << 8 | static_cast<unsigned char>(pending_[3]);
      if (pending_.size() < 4 + size) break;
      std::string payload = pending_.substr(4, size);
      StreamId stream = static_cast<StreamId>(pending_[0] - '0');
      char kind = pending_[1];
      pending_.erase(0, 4 + size);
      take(stream, kind, payload);
    }
    return bytes.size();
  }
  void end_of_input() override {
    while (!streams_.empty()) {
      StreamId stream = streams_.begin()->first;
      bool open = !streams_.begin()->second.received;
      streams_.erase(streams_.begin());
      Reset reset;
      reset.cause = Reset::Cause::peer_reset;
      if (open) receiver_.on_reset(stream, reset);
    }
  }
  void consumed(StreamId stream, size_t bytes) override {
    auto found = streams_.find(stream);
    if (found == streams_.end() || bytes == 0) return;
    char credit[2] = {static_cast<char>(bytes >> 8), static_cast<char>(bytes & 255)};
    put(frame(stream, 'W', {credit, 2}));
  }
  StreamId open_stream(Arena& arena) override {
    StreamId stream = ++last_;
    streams_[stream].arena = &arena;
    return stream;
  }
  void send_interim(StreamId, const MessageHead&) override {}
  void send_head(StreamId stream, const MessageHead& head, bool end) override {
    if (!streams_.contains(stream)) return;
    put(frame(stream, 'H',
              role_ == Role::server
                  ? std::to_string(head.status)
                  : std::string(head.method_text) + " " + std::string(head.target)));
    if (end) send_end(stream);
  }
  void send_data(StreamId stream, Chain& data, bool end) override {
    auto found = streams_.find(stream);
    if (found == streams_.end()) {
      data.clear();
      return;
    }
    while (!data.empty() && found->second.window > 0) {
      size_t size = std::min({data.front().size(), found->second.window, size_t{4000}});
      put(frame(stream, 'D', data.front().view().substr(0, size)));
      found->second.window -= size;
      data.consume(size);
    }
    if (data.empty() && end) send_end(stream);
  }
  void send_trailers(StreamId stream, const HeaderList&) override { send_end(stream); }
  void send_reset(StreamId stream, uint32_t) override {
    if (streams_.erase(stream) > 0) put(frame(stream, 'R'));
  }
  void finish_connection() override { finishing_ = true; }
  Chain& output() override { return output_; }
  bool reusable() const override { return !finishing_; }
  bool idle() const override { return streams_.empty() && pending_.empty(); }
  void next_exchange() override {}
  void release_memory() override {}

 private:
  struct Stream {
    Arena* arena = nullptr;
    size_t window = kWindow;
    bool received = false;
    bool sent = false;
  };
  void put(const std::string& text) { output_.push(Slice::copy_of(text)); }
  void send_end(StreamId stream) {
    auto found = streams_.find(stream);
    if (found == streams_.end() || found->second.sent) return;
    put(frame(stream, 'E'));
    found->second.sent = true;
    if (found->second.received) streams_.erase(found);
  }
  void take(StreamId stream, char kind, std::string_view payload) {
    if (kind == 'H' && role_ == Role::server) {
      Stream& made = streams_[stream];
      made.arena = &receiver_.on_begin(stream);
    }
    auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    Arena& arena = *found->second.arena;
    switch (kind) {
      case 'H': {
        if (role_ == Role::client) receiver_.on_begin(stream);
        auto* head = arena.make<MessageHead>();
        payload = arena.copy(payload);
        head->version = Version::http_2;
        head->body.kind = BodyLength::Kind::chunked;
        if (role_ == Role::server) {
          head->method_text = payload.substr(0, payload.find(' '));
          head->method = find_method(head->method_text);
          head->target = payload.substr(payload.find(' ') + 1);
          head->request_line = payload;
        } else {
          head->status = std::stoi(std::string(payload));
        }
        receiver_.on_head(stream, *head);
        break;
      }
      case 'D':
        receiver_.on_data(stream, Slice::copy_of(payload));
        break;
      case 'E':
        found->second.received = true;
        if (found->second.sent) streams_.erase(found);
        receiver_.on_end(stream);
        break;
      case 'R': {
        streams_.erase(found);
        Reset reset;
        reset.cause = Reset::Cause::peer_reset;
        receiver_.on_reset(stream, reset);
        break;
      }
      case 'W':
        found->second.window +=
            static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
        receiver_.on_writable(stream);
        break;
      default:
        FAIL("a frame of the kind " << kind);
    }
  }

  CodecReceiver& receiver_;
  Role role_;
  std::string pending_;
  Chain output_;
  std::map<StreamId, Stream> streams_;
  StreamId last_ = 0;
  bool finishing_ = false;
};

std::unique_ptr<Codec> make_frame_codec(CodecReceiver& receiver, const HeadLimits&) {
  return std::make_unique<FrameCodec>(receiver, Role::server);
}

// The client's role: what came back, by stream.
struct FrameClient final : CodecReceiver {
  struct Answer {
    int status = 0;
    std::string body;
    bool ended = false;
    bool reset = false;
  };
  explicit FrameClient(Rig& rig) : client(rig), codec(*this, Role::client) {}

  Arena& on_begin(StreamId) override { return arena; }
  void on_interim(StreamId, MessageHead&) override {}
  void on_head(StreamId stream, MessageHead& head) override {
    answers[stream].status = head.status;
  }
  void on_data(StreamId stream, Slice data) override {
    answers[stream].body += data.view();
    if (give_credit) codec.consumed(stream, data.size());
  }
  void on_trailers(StreamId, HeaderList&) override {}
  void on_end(StreamId stream) override { answers[stream].ended = true; }
  void on_upgraded(StreamId) override {}
  void on_reset(StreamId stream, const Reset&) override { answers[stream].reset = true; }
  void on_goaway(StreamId) override {}
  void on_writable(StreamId) override {}

  StreamId request(const char* method, const char* target, bool end) {
    StreamId stream = codec.open_stream(arena);
    MessageHead head;
    head.method_text = method;
    head.target = target;
    codec.send_head(stream, head, end);
    return stream;
  }
  void data(StreamId stream, std::string_view text, bool end) {
    Chain chain;
    chain.push(Slice::copy_of(text));
    codec.send_data(stream, chain, end);
  }
  void exchange_bytes() {
    for (int i = 0; i < 200; ++i) {
      while (!codec.output().empty()) {
        Slice slice = codec.output().take_front();
        client.send(slice.view());
      }
      std::string text = client.receive();
      if (text.empty() && codec.output().empty()) break;
      codec.feed(Slice::borrowed(text));
    }
  }

  Client client;
  Arena arena;
  FrameCodec codec;
  std::map<StreamId, Answer> answers;
  bool give_credit = true;
};

Task<PhaseResult> echo_task(Request& request) {
  int status = co_await request.body().read_all(request);
  if (status != 0) co_return PhaseResult::status(status);
  std::string text;
  const Chain& stored = request.body().stored();
  for (size_t i = 0; i < stored.count(); ++i) text += stored[i].view();
  co_return request.respond(200, {}, request.arena().copy(text));
}
PhaseResult echo(Request& request) {
  return PhaseResult::pending(echo_task(request));
}
PhaseResult big(Request& request) {
  static const std::string text(100000, 'x');
  return request.respond(200, {}, text);
}
PhaseResult early(Request& request) {
  return request.respond(403, {}, "early");
}

int unwound = 0;
Task<PhaseResult> hang_task(Request& request) {
  while (!request.client_gone()) co_await request.event().wait();
  ++unwound;
  co_return PhaseResult::status(499);
}
PhaseResult hang(Request& request) {
  return PhaseResult::pending(hang_task(request));
}

PhaseResult fail_late(Request& request) {
  request.response().status = 200;
  request.send_head();
  return PhaseResult::status(500);
}

struct FrameRig : Rig {
  FrameRig() : Rig(&make_frame_codec) {
    core().client_body_buffer_size.value = 65536;
    add("/echo", echo);
    add("/big", big);
    add("/early", early);
    add("/hang", hang);
    add("/late", fail_late);
    begin();
  }
};

}  // namespace

TEST_CASE("two streams at once, in both roles") {
  FrameRig rig;
  FrameClient client(rig);
  StreamId one = client.request("POST", "/echo", false);
  StreamId two = client.request("POST", "/echo", false);
  client.exchange_bytes();
  client.data(two, "second", true);
  client.exchange_bytes();
  CHECK(client.answers[two].body == "second");
  CHECK(client.answers[two].ended);
  CHECK_FALSE(client.answers[one].ended);
  client.data(one, "first", true);
  client.exchange_bytes();
  CHECK(client.answers[one].status == 200);
  CHECK(client.answers[one].body == "first");
  CHECK(client.answers[one].ended);
  CHECK(rig.sessions->count() == 1);
}

TEST_CASE("a stream without credit waits, and the other goes on") {
  FrameRig rig;
  FrameClient client(rig);
  client.give_credit = false;
  StreamId one = client.request("GET", "/big", true);
  StreamId two = client.request("POST", "/echo", false);
  client.data(two, "x", true);
  client.exchange_bytes();
  CHECK(client.answers[one].body.size() == kWindow);
  CHECK_FALSE(client.answers[one].ended);
  CHECK(client.answers[two].ended);
  client.give_credit = true;
  client.codec.consumed(one, kWindow);
  client.exchange_bytes();
  CHECK(client.answers[one].body.size() == 100000);
  CHECK(client.answers[one].ended);
}

TEST_CASE("an answer may come before its request has ended") {
  FrameRig rig;
  FrameClient client(rig);
  StreamId one = client.request("POST", "/early", false);
  client.exchange_bytes();
  CHECK(client.answers[one].status == 403);
  CHECK(client.answers[one].body == "early");
  CHECK(client.answers[one].ended);
  client.data(one, "late", true);
  client.exchange_bytes();
  StreamId two = client.request("GET", "/big", true);
  client.exchange_bytes();
  CHECK(client.answers[two].ended);
}

TEST_CASE("resets end one stream and cancel its work") {
  FrameRig rig;
  FrameClient client(rig);
  unwound = 0;
  StreamId one = client.request("GET", "/hang", true);
  StreamId two = client.request("POST", "/echo", false);
  client.exchange_bytes();
  client.codec.send_reset(one, 8);
  client.exchange_bytes();
  CHECK(unwound == 1);
  client.data(two, "still here", true);
  client.exchange_bytes();
  CHECK(client.answers[two].body == "still here");
  StreamId three = client.request("GET", "/late", true);
  client.exchange_bytes();
  CHECK(client.answers[three].reset);
  CHECK(rig.sessions->count() == 1);
}

TEST_CASE("a connection that breaks cancels all its streams") {
  FrameRig rig;
  unwound = 0;
  FrameClient client(rig);
  client.request("GET", "/hang", true);
  client.request("GET", "/hang", true);
  client.exchange_bytes();
  client.client.close();
  rig.run();
  CHECK(unwound == 2);
  CHECK(rig.sessions->count() == 0);
}
