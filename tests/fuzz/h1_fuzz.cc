// The HTTP/1 codec in both roles. The first byte of an input is flags, the second how the rest is
// cut. Checked: the order of events, credit and counts, that cutting changes nothing, and that what
// the server codec accepts, a client codec can be made to send without it being read differently.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "engine/http/framing.h"
#include "engine/http/h1/codec.h"

namespace weir::http::h1 {
namespace {

enum Flag : uint8_t {
  kClient = 1,
  kUpgrade = 2,   // client: the request carried Upgrade; server: Upgrade is answered with 101
  kHead = 4,      // client: the request was HEAD
  kOld = 8,       // client: HTTP/0.9 is allowed; server: small buffers
  kLenient = 16,  // server: odd names pass
  kNoEof = 32,
  kChunked = 64,  // server: answers of unknown length
};

void require(bool condition) {
  if (!condition) std::abort();
}

class Checker final : public CodecReceiver {
 public:
  enum class At { nothing, begun, body, trailers, ended, reset };

  Arena& on_begin(StreamId stream) override {
    require(stream == last_stream + 1 && (at == At::nothing || at == At::ended));
    last_stream = stream;
    at = At::begun;
    note("B");
    return arena;
  }
  void on_interim(StreamId stream, MessageHead& head) override {
    require(stream == last_stream && at == At::begun);
    require(head.status >= 100 && head.status < 200 && head.status != 101);
    note("I");
    note_head(head);
  }
  void on_head(StreamId stream, MessageHead& head) override {
    require(stream == last_stream && at == At::begun);
    at = At::body;
    left = head.body.kind == BodyLength::Kind::exact ? head.body.bytes : UINT64_MAX;
    require(head.body.kind != BodyLength::Kind::until_close || head.status != 0);
    upgrade = head.upgrade;
    head_ = &head;
    note("H");
    note_head(head);
  }
  void on_data(StreamId stream, Slice data) override {
    require(stream == last_stream && at == At::body && !data.empty() && data.size() <= left);
    if (left != UINT64_MAX) left -= data.size();
    if (!in_data) note("D");
    in_data = true;
    log += data.view();
    if (credit_now) {
      codec->consumed(stream, data.size());
    } else {
      owed += data.size();
      require(owed <= 128 * 1024);
    }
  }
  void on_trailers(StreamId stream, HeaderList& trailers) override {
    require(stream == last_stream && at == At::body);
    at = At::trailers;
    note("T");
    note_fields(trailers);
  }
  void on_end(StreamId stream) override {
    require(stream == last_stream && (at == At::body || at == At::trailers));
    require(left == 0 || left == UINT64_MAX || raw);
    at = At::ended;
    note("E");
  }
  void on_upgraded(StreamId stream) override {
    require(stream == last_stream && !raw && upgrade);
    raw = true;
    at = At::body;
    left = UINT64_MAX;
    note("U");
  }
  void on_reset(StreamId stream, const Reset& reset) override {
    require(stream == last_stream && at != At::nothing && at != At::reset && at != At::ended);
    require(reset.status >= 400 && reset.status < 600);
    require(std::strlen(reset.reason) > 0 && std::strlen(reset.reason) < 8000);
    at = At::reset;
    note("R");
  }
  void on_goaway(StreamId) override { std::abort(); }
  void on_writable(StreamId) override { std::abort(); }

  void note(std::string_view what) {
    in_data = false;
    log += '\n';
    log += what;
  }
  void note_fields(const HeaderList& fields) {
    for (const Header& header : fields) {
      require(!header.name.empty());
      for (char c : header.name) require(static_cast<unsigned char>(c) > 0x20 && c != ':');
      require(header.value.find_first_of(std::string_view("\r\n\0", 3)) == header.value.npos);
      require(header.id == find_header_id(header.name));
      log += header.name;
      log += ':';
      log += header.value;
      log += ';';
    }
  }
  void note_head(const MessageHead& head) {
    log += head.method_text;
    log += ' ';
    log += head.target;
    require(head.status != 0 || !head.target.empty());
    require(head.target.find_first_of(std::string_view(" \r\n\0", 4)) == head.target.npos);
    require(head.reason.find_first_of(std::string_view("\r\n\0", 3)) == head.reason.npos);
    log += std::to_string(head.status) + " " + std::to_string(static_cast<int>(head.version)) + " ";
    note_fields(head.headers);
  }

  Arena arena;
  Codec* codec = nullptr;
  MessageHead* head_ = nullptr;
  std::string log;
  At at = At::nothing;
  StreamId last_stream = 0;
  uint64_t left = 0;
  size_t owed = 0;
  bool credit_now = true;
  bool in_data = false;
  bool upgrade = false;
  bool raw = false;
};

void answer(Codec& codec, Checker& checker, uint8_t flags) {
  MessageHead head;
  head.status = checker.upgrade && (flags & kUpgrade) != 0 ? 101 : 200;
  head.body.kind = (flags & kChunked) != 0 ? BodyLength::Kind::chunked : BodyLength::Kind::exact;
  head.body.bytes = 2;
  codec.send_head(checker.last_stream, head, false);
  if (head.status == 101) return;
  Chain data;
  data.push(Slice::borrowed("ok"));
  codec.send_data(checker.last_stream, data, true);
}

std::string run(uint8_t flags, size_t piece, std::string_view text) {
  Checker checker;
  HeadLimits limits;
  ClientOptions options;
  bool client = (flags & kClient) != 0;
  if ((flags & kOld) != 0) {
    options.allow_http_0_9 = true;
    limits.first_buffer = 32;
    limits.buffer_count = 2;
    limits.buffer_size = 64;
    limits.max_headers = 5;
  }
  limits.ignore_invalid = (flags & kLenient) == 0;
  auto codec = client ? make_client_codec(checker, options) : make_server_codec(checker, limits);
  checker.codec = codec.get();
  auto open = [&] {
    MessageHead head;
    head.method_text = (flags & kHead) != 0 ? "HEAD" : "GET";
    head.method = find_method(head.method_text);
    head.target = "/";
    head.upgrade = (flags & kUpgrade) != 0;
    StreamId stream = codec->open_stream(checker.arena);
    if (stream != 0) codec->send_head(stream, head, true);
    return stream != 0;
  };
  if (client) require(open());
  size_t at = 0;
  bool answered = false;
  while (at < text.size()) {
    size_t count = piece == 0 ? text.size() - at : std::min(piece, text.size() - at);
    std::unique_ptr<char[]> copy(new char[count]);
    std::memcpy(copy.get(), text.data() + at, count);
    size_t used = codec->feed(Slice::borrowed({copy.get(), count}));
    require(used <= count);
    at += used;
    codec->output().clear();
    if (checker.at == Checker::At::ended && !answered) {
      if (!client) answer(*codec, checker, flags);
      answered = true;
      bool reusable = codec->reusable();
      codec->output().clear();
      if (!reusable && !checker.upgrade) break;
      if (reusable) {
        // Cut input may not have shown surplus bytes yet, so a client goes no further.
        if (client) break;
        codec->next_exchange();
        require(codec->idle());
        codec->release_memory();
        checker.at = Checker::At::nothing;
        answered = false;
        continue;
      }
    }
    if (checker.at == Checker::At::reset) {
      require(!codec->reusable());
      if (!client) answer(*codec, checker, flags & ~kUpgrade);
      require(!codec->reusable());
      break;
    }
    if (used == 0 && !(answered && checker.upgrade && !checker.raw)) break;
    if (used == 0) {
      // A 101 was sent: the tunnel takes everything.
      require(codec->feed(Slice::borrowed(text.substr(at, 1))) == 1 || client);
      at += 1;
    }
  }
  if ((flags & kNoEof) == 0) {
    codec->end_of_input();
    require(!codec->reusable());
  }
  return checker.log;
}

}  // namespace
}  // namespace weir::http::h1

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::http::h1;
  if (size < 2) return 0;
  uint8_t flags = data[0];
  size_t piece = data[1] % 16 + 1;
  std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::string whole = run(flags, 0, text);
  std::string cut = run(flags, piece, text);
  // A limit may be met before or after another fault of the same head; then both are refused.
  bool same = whole == cut;
  bool limited = (flags & kClient) != 0 && (flags & kOld) != 0 && text.size() >= 8192;
  if (!same && !limited) {
    std::fprintf(stderr, "whole:%s\ncut:%s\n", whole.c_str(), cut.c_str());
    std::abort();
  }
  return 0;
}
