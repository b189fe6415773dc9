#include <catch2/catch.hpp>

#include "tests/engine/http/h1/recorder.h"

namespace weir::http::h1 {
namespace {

using std::string_view_literals::operator""sv;

struct Client {
  explicit Client(const ClientOptions& options = {}) : codec(make_client_codec(recorder, options)) {
    recorder.codec = codec.get();
  }
  // Sends a whole request without a body.
  StreamId request(std::string_view method = "GET", bool upgrade = false) {
    MessageHead head;
    head.method_text = method;
    head.method = find_method(method);
    head.target = "/";
    head.upgrade = upgrade;
    head.headers.add(recorder.arena, "Host", "h");
    StreamId stream = codec->open_stream(recorder.arena);
    codec->send_head(stream, head, true);
    take_output(*codec);
    return stream;
  }
  size_t feed(std::string_view text, size_t piece = 0) {
    return feed_in_pieces(*codec, text, piece);
  }
  Recorder recorder;
  std::unique_ptr<Codec> codec;
};

struct ResponseCase {
  std::string_view input;
  std::string_view expected;  // events behind "begin1 | "
  std::string_view reason = {};
  bool reusable = false;
  std::string_view method = "GET";
  bool close = false;  // the upstream closes behind it
};

#define R "HTTP/1.1 200 OK\r\n"
#define ONE_0 "upstream sent no valid HTTP/1.0 header while reading response header from upstream"
#define IN_RESPONSE " while reading response header from upstream"
#define INVALID "upstream sent invalid header: \""
#define BAD "reset 502"
#define GONE "upstream prematurely closed connection while reading response header from upstream"

// What nginx 1.22 makes of these, but for lengths and codings: there nginx became strict later, and
// we follow that.
const ResponseCase kResponses[] = {
    {R "A: b\r\n\r\n", "head 200 OK [A=b] until_close close"},
    {R "A: b\r\nContent-Length: 0\r\n\r\n", "head 200 OK [A=b] [Content-Length=0] | end", "", true},
    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "head 200 [Content-Length=0] | end", "", true},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "head 200  [Content-Length=0] | end", "", true},
    {"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "head 200 OK [Content-Length=0] | end", "",
     true},
    {"HTTP/1.1 200.1 OK\r\nContent-Length: 0\r\n\r\n", "head 200.1 OK [Content-Length=0] | end", "",
     true},
    {"HTTP/1.1 999 Odd one\r\nContent-Length: 0\r\n\r\n",
     "head 999 Odd one [Content-Length=0] | end", "", true},
    {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "head 200 OK [Content-Length=0] | end", "",
     true},
    {"HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", "head 200 OK [Content-Length=0] | end", "",
     true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
     "head 200 OK [Content-Length=0] [Connection=keep-alive] close | end"},
    {"HTTP/1.1 200 O\xffK\r\nContent-Length: 0\r\n\r\n", "head 200 O\xffK [Content-Length=0] | end",
     "", true},
    {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "head 200 OK [Content-Length=0] | end", "", true},
    {"hello\r\n\r\nbody", BAD, ONE_0},
    {"HTTP/1.1 20 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 2000 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 2x0 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 200OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1\t200 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 200\tOK\r\n\r\n", BAD, ONE_0},
    {"HTTP/0.9 200 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1. 200 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/ 200 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1 200 OK\r\n\r\n", BAD, ONE_0},
    {"http/1.1 200 OK\r\n\r\n", BAD, ONE_0},
    {"ICY 200 OK\r\n\r\n", BAD, ONE_0},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 200 O\rK\r\n\r\n", BAD, ONE_0},
    {"HTTP/1.1 099 OK\r\n\r\n", BAD, ONE_0},  // nginx passes it on
    {"", BAD, GONE, false, "GET", true},
    {"HTTP", BAD, GONE, false, "GET", true},
    {R "A: b", BAD, GONE, false, "GET", true},
    {R "A : b\r\n\r\nx", BAD, INVALID "A\\x20...\"" IN_RESPONSE},
    {R " A: b\r\n\r\nx", BAD, INVALID "\\x20...\"" IN_RESPONSE},
    {R "A: b\r\n c\r\n\r\nx", BAD, INVALID "\\x20...\"" IN_RESPONSE},
    {R ": b\r\n\r\nx", BAD, INVALID "\\x3a...\"" IN_RESPONSE},
    {R "A b: c\r\n\r\nx", BAD, INVALID "A\\x20...\"" IN_RESPONSE},
    {R "A: x\0y\r\n\r\nx"sv, BAD, INVALID "A: x\\x00...\"" IN_RESPONSE},
    {R "A: x\ry\r\n\r\nx", BAD, INVALID "A: x\\x0d...\"" IN_RESPONSE},
    {R "A\0: x\r\n\r\nx"sv, BAD, INVALID "A\\x00...\"" IN_RESPONSE},
    {R "A\r\nA_b: c\r\nA@b: c\r\nContent-Length: 0\r\n\r\n",
     "head 200 OK [A=] [A_b=c] [A@b=c] [Content-Length=0] | end", "", true},
    {R "Content-Length: 3\r\n\r\nabc", "head 200 OK [Content-Length=3] exact 3 | data:abc | end",
     "", true},
    {R "Content-Length: 3\r\n\r\nabcd", "head 200 OK [Content-Length=3] exact 3 | data:abc | end"},
    {R "Content-Length: 3\r\nConnection: close\r\n\r\nabc",
     "head 200 OK [Content-Length=3] [Connection=close] exact 3 close | data:abc | end"},
    {R "Content-Length: 3\r\n\r\nab",
     "head 200 OK [Content-Length=3] exact 3 | data:ab | reset 502",
     "upstream prematurely closed connection while reading upstream", false, "GET", true},
    {R "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", BAD,
     "upstream sent duplicate header line: \"Content-Length: 3\", previous value: "
     "\"Content-Length: 3\"" IN_RESPONSE},
    {R "Content-Length: x\r\n\r\nabc", BAD,
     "upstream sent invalid \"Content-Length\" header: \"Content-Length: x\"" IN_RESPONSE},
    {R "Content-Length: 3, 3\r\n\r\nabc", BAD,
     "upstream sent invalid \"Content-Length\" header: \"Content-Length: 3, 3\"" IN_RESPONSE},
    {R "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", BAD,
     "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same "
     "time" IN_RESPONSE},
    {R "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", BAD,
     "upstream sent duplicate header line: \"Transfer-Encoding: chunked\", previous value: "
     "\"Transfer-Encoding: chunked\"" IN_RESPONSE},
    {R "Transfer-Encoding: gzip, chunked\r\n\r\n", BAD,
     "upstream sent unknown \"Transfer-Encoding\": \"gzip, chunked\"" IN_RESPONSE},
    {R "Transfer-Encoding: identity\r\n\r\n", BAD,
     "upstream sent unknown \"Transfer-Encoding\": \"identity\"" IN_RESPONSE},
    {R "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked | data:abc | end", "", true},
    {R "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked | data:abc | trailers [T=v] | end", "", true},
    {R "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nx",
     "head 200 OK [Transfer-Encoding=chunked] chunked | data:abc | end"},
    {R "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked | data:abc | reset 502",
     "upstream prematurely closed connection while reading upstream", false, "GET", true},
    {R "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked | reset 502",
     "upstream sent invalid chunked response while reading upstream"},
    {R "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked | reset 502",
     "upstream sent invalid chunked response while reading upstream"},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     "head 200 OK [Transfer-Encoding=chunked] chunked close | data:abc | end"},
    {R "\r\nuntil close", "head 200 OK until_close close | data:until close | end", "", false,
     "GET", true},
    {"HTTP/1.1 100 Continue\r\n\r\n" R "Content-Length: 2\r\n\r\nok",
     "interim 100 | head 200 OK [Content-Length=2] exact 2 | data:ok | end", "", true},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" R
     "Content-Length: 0\r\n\r\n",
     "interim 103 | interim 103 | head 200 OK [Content-Length=0] | end", "", true},
    {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nraw", BAD,
     "upstream sent unexpected \"101\" response" IN_RESPONSE},
    {"HTTP/1.1 204 No\r\n\r\n", "head 204 No | end", "", true},
    {"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok", "head 204 No [Content-Length=2] | end"},
    {"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n", "head 304 No [Content-Length=2] | end", "",
     true},
    {R "Content-Length: 3\r\n\r\n", "head 200 OK [Content-Length=3] | end", "", true, "HEAD"},
    {R "Transfer-Encoding: chunked\r\n\r\n", "head 200 OK [Transfer-Encoding=chunked] | end", "",
     true, "HEAD"},
    {R "\r\n", "head 200 OK | end", "", true, "HEAD"},
};

std::string without_close(std::string text) {
  // A response without a length says nothing about Connection, but the connection cannot stay.
  size_t at = text.find("until_close close");
  if (at != std::string::npos) text.erase(at + 11, 6);
  return text;
}

TEST_CASE("h1 client: responses") {
  for (const ResponseCase& one : kResponses) {
    for (size_t piece : kPieces) {
      CAPTURE(one.input, piece);
      Client client;
      REQUIRE(client.request(one.method) == 1);
      client.feed(one.input, piece);
      if (one.close) client.codec->end_of_input();
      CHECK(without_close(client.recorder.events) ==
            without_close("begin1 | " + std::string(one.expected)));
      CHECK(client.recorder.reason == one.reason);
      CHECK(client.codec->reusable() == one.reusable);
      client.codec->next_exchange();
      CHECK((client.codec->open_stream(client.recorder.arena) == 2) == one.reusable);
    }
  }
}

TEST_CASE("h1 client: a head above its limit") {
  const std::string small = R "A: " + std::string(8192 - 24, 'x') + "\r\n\r\n";
  REQUIRE(small.size() == 8192);
  for (size_t piece : kPieces) {
    Client fits;
    fits.request();
    fits.feed(small, piece);
    CHECK(fits.recorder.last != nullptr);
    Client client;
    client.request();
    client.feed(R "A: " + std::string(9000, 'x') + "\r\n\r\n", piece);
    CHECK(client.recorder.events == "begin1 | reset 502");
    CHECK(client.recorder.reason ==
          "upstream sent too big header while reading response header from upstream");
  }
}

TEST_CASE("h1 client: HTTP/0.9 where it is allowed") {
  for (std::string_view text : {"hello\r\n\r\nbody"sv, "HTTP/1.1 2x0 body"sv, "HTTX"sv}) {
    for (size_t piece : kPieces) {
      CAPTURE(text, piece);
      Client client(ClientOptions{.head_limit = 8192, .allow_http_0_9 = true});
      client.request();
      client.feed(text, piece);
      client.codec->end_of_input();
      CHECK(without_close(client.recorder.events) ==
            "begin1 | head 200 until_close | data:" + std::string(text) + " | end");
      CHECK_FALSE(client.codec->reusable());
    }
  }
}

TEST_CASE("h1 client: requests as they are listed") {
  Client client;
  Arena arena;
  MessageHead head;
  head.method_text = "POST";
  head.method = Method::post;
  head.target = "/a?b";
  head.version = Version::http_1_0;
  head.headers.add(arena, "Host", "h");
  head.headers.add(arena, "Content-Length", "3");
  head.body = {BodyLength::Kind::exact, 3};
  StreamId stream = client.codec->open_stream(arena);
  CHECK(client.codec->open_stream(arena) == 0);
  client.codec->send_head(stream, head, false);
  CHECK(take_output(*client.codec) == "POST /a?b HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
  Chain data;
  data.push(Slice::borrowed("abc"));
  client.codec->send_data(stream, data, true);
  CHECK(take_output(*client.codec) == "abc");
  client.feed(R "Content-Length: 0\r\n\r\n");
  CHECK(client.codec->reusable());
  client.codec->next_exchange();
  CHECK(client.codec->idle());

  head.version = Version::http_1_1;
  head.headers.remove(HeaderId::content_length);
  head.headers.add(arena, "Transfer-Encoding", "chunked");
  head.body = {BodyLength::Kind::chunked, 0};
  stream = client.codec->open_stream(arena);
  REQUIRE(stream == 2);
  client.codec->send_head(stream, head, false);
  data.push(Slice::borrowed("abc"));
  client.codec->send_data(stream, data, false);
  HeaderList trailers;
  trailers.add(arena, "T", "v");
  client.codec->send_trailers(stream, trailers);
  CHECK(take_output(*client.codec) ==
        "POST /a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: "
        "v\r\n\r\n");
}

TEST_CASE("h1 client: an answer before the request has ended spoils the connection") {
  Client client;
  Arena arena;
  MessageHead head;
  head.method_text = "POST";
  head.target = "/";
  head.body = {BodyLength::Kind::exact, 3};
  StreamId stream = client.codec->open_stream(arena);
  client.codec->send_head(stream, head, false);
  client.feed(R "Content-Length: 0\r\n\r\n");
  CHECK(client.recorder.ended);
  CHECK_FALSE(client.codec->reusable());
  Chain data;
  data.push(Slice::borrowed("ab"));
  client.codec->send_data(stream, data, true);  // less than declared
  CHECK_FALSE(client.codec->reusable());
}

TEST_CASE("h1 client: bytes that nobody asked for") {
  Client client;
  CHECK(client.codec->reusable());
  client.feed("HTTP/1.1 408 Request Timeout\r\n\r\n");
  CHECK_FALSE(client.codec->reusable());
  CHECK(client.recorder.events.empty());
  CHECK(client.codec->open_stream(client.recorder.arena) == 0);
}

TEST_CASE("h1 client: only a connection that answered nothing is safe to retry") {
  Client silent;
  silent.request();
  silent.codec->end_of_input();
  CHECK(silent.recorder.retry_safe);
  CHECK(silent.recorder.cause == Reset::Cause::peer_reset);
  Client begun;
  begun.request();
  begun.feed("H");
  begun.codec->end_of_input();
  CHECK_FALSE(begun.recorder.retry_safe);
}

TEST_CASE("h1 client: tunnels") {
  const std::string_view answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw data";
  for (size_t piece : kPieces) {
    Client client;
    StreamId stream = client.request("GET", true);
    client.feed(answer, piece);
    CHECK(client.recorder.events ==
          "begin1 | head 101 Switching Protocols [Upgrade=x] upgrade | upgraded | data:raw data");
    Chain data;
    data.push(Slice::borrowed("up"));
    client.codec->send_data(stream, data, false);
    CHECK(take_output(*client.codec) == "up");
    client.codec->end_of_input();
    CHECK(client.recorder.ended);
    CHECK_FALSE(client.codec->reusable());
  }
  // The rest of a request body must not become tunnel data.
  Client early;
  MessageHead head;
  head.method_text = "POST";
  head.target = "/";
  head.upgrade = true;
  head.body = {BodyLength::Kind::exact, 3};
  early.codec->send_head(early.codec->open_stream(early.recorder.arena), head, false);
  early.feed(answer);
  CHECK(early.recorder.events == "begin1 | reset 502");
}

TEST_CASE("h1 client: endless hints") {
  Client client;
  client.request();
  for (int i = 0; i < 200; ++i) client.feed("HTTP/1.1 103 Early Hints\r\n\r\n");
  CHECK(client.recorder.reset_status == 502);
}

TEST_CASE("h1 client: many exchanges on one connection") {
  Client client;
  for (StreamId i = 1; i < 5; ++i) {
    REQUIRE(client.request() == i);
    client.recorder.clear();
    client.feed(R "Content-Length: 2\r\n\r\nok", 3);
    CHECK(client.recorder.events ==
          "begin" + std::to_string(i) +
              " | head 200 OK [Content-Length=2] exact 2 | data:ok | end");
    client.codec->next_exchange();
    client.codec->release_memory();
    CHECK(client.codec->idle());
  }
}

}  // namespace
}  // namespace weir::http::h1
