#include <llhttp.h>
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <iostream>

#include "engine/http/framing.h"
#include "tests/engine/http/h1/recorder.h"
#include "tests/engine/http/h1/request_table.h"

namespace weir::http::h1 {
namespace {

const HeadLimits kDefaults;

struct Server {
  explicit Server(const HeadLimits& limits = kDefaults)
      : codec(make_server_codec(recorder, limits)) {
    recorder.codec = codec.get();
  }
  size_t feed(std::string_view text, size_t piece = 0) {
    return feed_in_pieces(*codec, text, piece);
  }
  Recorder recorder;
  std::unique_ptr<Codec> codec;
};

void check_table(const RequestCase* begin, const RequestCase* end) {
  for (const RequestCase* one = begin; one != end; ++one) {
    for (size_t piece : kPieces) {
      CAPTURE(one->input, piece);
      Server server;
      server.feed(one->input, piece);
      CHECK(server.recorder.reset_status == one->status);
      if (one->status == 0) {
        CHECK(server.recorder.events.substr(0, 14) == "begin1 | head ");
        std::string head =
            server.recorder.events.substr(std::min<size_t>(14, server.recorder.events.size()));
        CHECK(head.substr(0, head.find(" | ")) == one->expected);
      } else {
        CHECK(server.recorder.reason == one->expected);
        CHECK(server.recorder.events == "begin1 | reset " + std::to_string(one->status));
        CHECK(server.recorder.cause == Reset::Cause::malformed);
        CHECK_FALSE(server.codec->reusable());
        // Nothing behind a malformed head is ever read.
        server.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        CHECK(server.recorder.events == "begin1 | reset " + std::to_string(one->status));
      }
    }
  }
}

TEST_CASE("h1 server: ignored fields are kept for the log") {
  for (size_t piece : kPieces) {
    CAPTURE(piece);
    Server server;
    server.feed("GET / HTTP/1.1\r\nHost: h\r\nUnder_Score: a b  \r\nX: 1\r\nX@Y:\r\n\r\n", piece);
    const MessageHead* head = server.recorder.last;
    REQUIRE(head != nullptr);
    REQUIRE(head->ignored_count == 2);
    CHECK(head->ignored_lines[0] == "Under_Score: a b");
    CHECK(head->ignored_lines[1] == "X@Y:");
    CHECK(head->headers.size() == 2);
  }
}

TEST_CASE("h1 server: a refused request line is whole in the log") {
  Server server;
  server.feed(std::string_view("GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 30));
  CHECK(server.recorder.reset_status == 400);
  REQUIRE(server.recorder.refused != nullptr);
  CHECK(server.recorder.refused->request_line == std::string_view("GET /a\0b HTTP/1.1", 17));
}

TEST_CASE("h1 server: request lines as nginx reads them") {
  check_table(std::begin(kRequestLines), std::end(kRequestLines));
}

TEST_CASE("h1 server: field lines as nginx reads them") {
  check_table(std::begin(kFieldLines), std::end(kFieldLines));
}

TEST_CASE("h1 server: lengths, and what smuggling needs") {
  check_table(std::begin(kLengths), std::end(kLengths));
}

TEST_CASE("h1 server: hosts") {
  for (const HostCase& one : kHosts) {
    CAPTURE(one.input);
    Arena arena;
    auto host = validate_host(arena, one.input);
    CHECK(host.has_value() == !one.expected.empty());
    if (host) CHECK(*host == one.expected);
  }
}

// A second opinion: what we take unchanged, a strict llhttp takes too, and sees the same fields.
struct SecondOpinion {
  std::string fields;
  bool complete = false;
};

TEST_CASE("h1 server: llhttp agrees with every head we accept") {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
    static_cast<SecondOpinion*>(parser->data)->fields += std::string(at, size);
    return 0;
  };
  settings.on_header_field_complete = [](llhttp_t* parser) {
    static_cast<SecondOpinion*>(parser->data)->fields += "=";
    return 0;
  };
  settings.on_header_value = settings.on_header_field;
  settings.on_header_value_complete = [](llhttp_t* parser) {
    static_cast<SecondOpinion*>(parser->data)->fields += ";";
    return 0;
  };
  settings.on_headers_complete = [](llhttp_t* parser) {
    static_cast<SecondOpinion*>(parser->data)->complete = true;
    return static_cast<int>(HPE_PAUSED);
  };
  size_t compared = 0;
  auto compare = [&](const RequestCase& one) {
    // llhttp has no odd methods, bare LF, dropped fields, tabs in its trimming, or lines without
    // colon.
    if (one.status != 0 || one.input.find("\n\n") != one.input.npos) return;
    Server server;
    server.feed(one.input);
    REQUIRE(server.recorder.last != nullptr);
    std::string ours;
    for (const Header& header : server.recorder.last->headers) {
      ours += std::string(header.name) + "=" + std::string(header.value) + ";";
    }
    SecondOpinion theirs;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &theirs;
    llhttp_execute(&parser, one.input.data(), one.input.size());
    if (!theirs.complete) return;
    CAPTURE(one.input);
    ++compared;
    if (one.input.find('\t') != one.input.npos || ours.size() < theirs.fields.size()) return;
    CHECK(ours == theirs.fields);
  };
  std::for_each(std::begin(kRequestLines), std::end(kRequestLines), compare);
  std::for_each(std::begin(kFieldLines), std::end(kFieldLines), compare);
  std::for_each(std::begin(kLengths), std::end(kLengths), compare);
  CHECK(compared > 30);
}

TEST_CASE("h1 server: odd field names pass where they are asked for") {
  HeadLimits limits;
  limits.ignore_invalid = false;
  Server server(limits);
  server.feed("GET / HTTP/1.1\r\nA@b: x\r\nA_b: y\r\nHost: h\r\n\r\n");
  CHECK(server.recorder.events == "begin1 | head GET / 11 host=h [A@b=x] [A_b=y] | end");
  limits.ignore_invalid = true;
  limits.allow_underscores = true;
  Server underscores(limits);
  underscores.feed("GET / HTTP/1.1\r\nA@b: x\r\nA_b: y\r\nHost: h\r\n\r\n");
  CHECK(underscores.recorder.events == "begin1 | head GET / 11 host=h [A_b=y] | end");
}

int status_with_small_buffers(const std::string& text, size_t piece) {
  HeadLimits limits;
  limits.first_buffer = 64;
  limits.buffer_count = 2;
  limits.buffer_size = 512;
  Server server(limits);
  server.feed(text, piece);
  if (server.recorder.reset_status == 0) CHECK(server.recorder.ended);
  return server.recorder.reset_status;
}

// client_header_buffer_size 64; large_client_header_buffers 2 512: sizes where nginx changes its
// mind.
TEST_CASE("h1 server: header buffers run out where nginx's do") {
  const std::string line_end = " HTTP/1.1\r\n";
  const std::string tail = "Host: h\r\nConnection: close\r\n\r\n";
  auto line = [](char name, size_t size) {
    return std::string(1, name) + ": " + std::string(size - 3, 'b') + "\r\n";
  };
  for (size_t piece : kPieces) {
    CAPTURE(piece);
    auto status = [&](const std::string& text) { return status_with_small_buffers(text, piece); };
    CHECK(status("GET /" + std::string(496, 'a') + line_end + tail) == 0);
    CHECK(status("GET /" + std::string(497, 'a') + line_end + tail) == 414);
    CHECK(status("GET /" + std::string(5000, 'a') + line_end + tail) == 414);
    CHECK(status("GET /" + line_end + line('A', 510) + tail) == 0);
    CHECK(status("GET /" + line_end + line('A', 511) + tail) == 494);
    CHECK(status("GET /" + line_end + line('A', 400) + line('B', 400) + tail) == 0);
    CHECK(status("GET /" + line_end + line('A', 500) + line('B', 500) + tail) == 494);
    CHECK(status("GET /" + line_end + line('A', 200) + line('A', 200) + line('A', 200) + tail) ==
          0);
    CHECK(status("GET /" + line_end + line('A', 300) + line('A', 300) + line('A', 300) + tail) ==
          494);
    std::string small;
    for (int i = 0; i < 70; ++i) small += "A: bbbbbbbb\r\n";
    CHECK(status("GET /" + line_end + small + tail) == 0);
    for (int i = 0; i < 10; ++i) small += "A: bbbbbbbb\r\n";
    CHECK(status("GET /" + line_end + small + tail) == 494);
  }
}

TEST_CASE("h1 server: a head that never ends is refused before it is complete") {
  HeadLimits limits;
  for (std::string_view start : {"GET /", "GET / HTTP/1.1\r\nA: "}) {
    Server server(limits);
    std::string text(start);
    text.append(100000, 'a');
    server.feed(text, 1000);
    CHECK(server.recorder.reset_status == (start.size() == 5 ? 414 : 494));
  }
  limits.max_headers = 3;
  Server server(limits);
  server.feed("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA: b\r\nA: b\r\n");
  CHECK(server.recorder.reset_status == 494);
  CHECK(server.recorder.reason ==
        "client sent too many header lines while reading client request headers");
}

struct ChunkCase {
  std::string_view input;
  bool accepted;
  std::string_view expected;  // events after the head
};
constexpr std::string_view kBadChunk = "reset 400";
const ChunkCase kChunks[] = {
    {"3\r\nabc\r\n0\r\n\r\n", true, "data:abc | end"},
    {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", true, "data:abcde | end"},
    {"0\r\n\r\n", true, "end"},
    {"0003\r\nabc\r\n000\r\n\r\n", true, "data:abc | end"},
    {"00000000000000000000000000000003\r\nabc\r\n0\r\n\r\n", true, "data:abc | end"},
    {"A\r\n0123456789\r\n0\r\n\r\n", true, "data:0123456789 | end"},
    {"a\r\n0123456789\r\n0\r\n\r\n", true, "data:0123456789 | end"},
    {"3 \r\nabc\r\n0\r\n\r\n", true, "data:abc | end"},
    {"3;a=b\r\nabc\r\n0\r\n\r\n", true, "data:abc | end"},
    {"3 ;a\r\nabc\r\n0;x\r\n\r\n", true, "data:abc | end"},
    {"0\r\nA: b\r\nC: d\r\n\r\n", true, "trailers [A=b] [C=d] | end"},
    // nginx takes these, we do not: a bare LF ends nothing in a chunked body.
    {"3\nabc\r\n0\r\n\r\n", false, ""},
    {"3\r\nabc\n0\r\n\r\n", false, ""},
    {"3\r\nabc\r\n0\n\r\n", false, ""},
    {"3\r\nabc\r\n0\r\n\n", false, ""},
    {"3;a\nabc\r\n0\r\n\r\n", false, ""},
    {"0\r\nA: b\n\r\n", false, ""},
    {"0\r\nA: b\r\n\n", false, ""},
    {"0\r\nA : b\r\n\r\n", false, ""},
    {"0\r\n b\r\n\r\n", false, ""},
    // Both refuse these.
    {"3\n\nabc", false, ""},
    {" 3\r\nabc\r\n0\r\n\r\n", false, ""},
    {"3;a=\"x\r\ny\"\r\nabc\r\n0\r\n\r\n", false, ""},
    {"g\r\nabc\r\n0\r\n\r\n", false, ""},
    {"\r\nabc\r\n0\r\n\r\n", false, ""},
    {"3x\r\nabc\r\n0\r\n\r\n", false, ""},
    {"3\r\nabcd\r\n0\r\n\r\n", false, ""},
    {"3\r\nab\r\n0\r\n\r\n", false, ""},
    {"ffffffffffffffff\r\nabc\r\n", false, ""},
    {"8000000000000000\r\nabc\r\n", false, ""},
    {"10000000000000003\r\nabc\r\n0\r\n\r\n", false, ""},
    {"3\rabc\r\n0\r\n\r\n", false, ""},
    {"3\r\r\nabc\r\n0\r\n\r\n", false, ""},
    {"3\r\nabc\r\r\n0\r\n\r\n", false, ""},
    {"-3\r\nabc\r\n0\r\n\r\n", false, ""},
    {"+3\r\nabc\r\n0\r\n\r\n", false, ""},
    {"0x3\r\nabc\r\n0\r\n\r\n", false, ""},
};

TEST_CASE("h1 server: chunked bodies") {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const ChunkCase& one : kChunks) {
    for (size_t piece : kPieces) {
      CAPTURE(one.input, piece);
      Server server;
      server.feed(head + std::string(one.input), piece);
      std::string& events = server.recorder.events;
      if (one.accepted) {
        const std::string before =
            "begin1 | head POST / 11 host=h [Transfer-Encoding=chunked] chunked | ";
        CHECK(events == before + std::string(one.expected));
      } else {
        CHECK(events.substr(events.size() - kBadChunk.size()) == kBadChunk);
        CHECK(server.recorder.reason == "client sent invalid chunked body");
        CHECK_FALSE(server.codec->reusable());
      }
    }
  }
}

TEST_CASE("h1 server: limits of chunk extensions and trailers") {
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  auto status = [&](const std::string& body, size_t piece) {
    Server server;
    server.feed(head + body, piece);
    return server.recorder.reset_status;
  };
  for (size_t piece : {size_t{0}, size_t{7}}) {
    CHECK(status("3;" + std::string(3000, 'a') + "\r\nabc\r\n0\r\n\r\n", piece) == 0);
    CHECK(status("3;" + std::string(5000, 'a') + "\r\nabc\r\n0\r\n\r\n", piece) == 400);
    CHECK(status(std::string(5000, '0') + "3\r\nabc\r\n0\r\n\r\n", piece) == 400);
    std::string many;
    for (int i = 0; i < 100; ++i) many += "1;" + std::string(1000, 'e') + "\r\nx\r\n";
    CHECK(status(many, piece) == 400);
    std::string trailers = "0\r\n";
    for (int i = 0; i < 900; ++i) trailers += "T: v\r\n";
    CHECK(status(trailers + "\r\n", piece) == 0);
    for (int i = 0; i < 200; ++i) trailers += "T: v\r\n";
    CHECK(status(trailers + "\r\n", piece) == 400);
    CHECK(status("0\r\nA: " + std::string(20000, 'a'), piece) == 400);
  }
}

std::string respond(Server& server, int status, std::string_view body, BodyLength::Kind kind) {
  Arena arena;
  MessageHead head;
  head.status = status;
  head.headers.add(arena, "Server", "weir");
  head.headers.add(arena, "Content-Type", "text/plain");
  head.headers.add(arena, "Location", "/l");
  head.headers.add(arena, "X-Other", "o");
  head.body = {kind, kind == BodyLength::Kind::exact ? body.size() : 0};
  server.codec->send_head(1, head, false);
  Chain data;
  if (!body.empty()) data.push(Slice::borrowed(body));
  server.codec->send_data(1, data, true);
  return take_output(*server.codec);
}

#define FIELDS_1 "Server: weir\r\nContent-Type: text/plain\r\n"
#define FIELDS_2 "Location: /l\r\n"
#define FIELDS_3 "X-Other: o\r\n\r\n"

TEST_CASE("h1 server: responses in nginx's order and framing") {
  using Kind = BodyLength::Kind;
  struct Case {
    std::string_view request;
    int status;
    std::string_view body;
    Kind kind;
    std::string_view expected;
    bool reusable;
  };
  const Case cases[] = {
      {"GET / HTTP/1.1\r\n" H, 200, "abc", Kind::exact,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 "Content-Length: 3\r\n" FIELDS_2
       "Connection: keep-alive\r\n" FIELDS_3 "abc",
       true},
      {"GET / HTTP/1.1\r\n" H, 200, "abc", Kind::chunked,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2
       "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n" FIELDS_3 "3\r\nabc\r\n0\r\n\r\n",
       true},
      {"GET / HTTP/1.1\r\n" H, 200, "", Kind::chunked,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2
       "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n" FIELDS_3 "0\r\n\r\n",
       true},
      {"GET / HTTP/1.1\r\nConnection: close\r\n" H, 404, "", Kind::none,
       "HTTP/1.1 404 Not Found\r\n" FIELDS_1 "Content-Length: 0\r\n" FIELDS_2
       "Connection: close\r\n" FIELDS_3,
       false},
      {"GET / HTTP/1.0\r\n\r\n", 200, "abc", Kind::chunked,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2 "Connection: close\r\n" FIELDS_3 "abc", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "abc", Kind::chunked,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2 "Connection: close\r\n" FIELDS_3 "abc", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "abc", Kind::exact,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 "Content-Length: 3\r\n" FIELDS_2
       "Connection: keep-alive\r\n" FIELDS_3 "abc",
       true},
      {"GET /\r\n", 200, "abc", Kind::exact, "abc", false},
      {"HEAD / HTTP/1.1\r\n" H, 200, "abc", Kind::exact,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 "Content-Length: 3\r\n" FIELDS_2
       "Connection: keep-alive\r\n" FIELDS_3,
       true},
      {"HEAD / HTTP/1.1\r\n" H, 200, "abc", Kind::chunked,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2 "Connection: keep-alive\r\n" FIELDS_3, true},
      {"GET / HTTP/1.1\r\n" H, 204, "abc", Kind::exact,
       "HTTP/1.1 204 No Content\r\n" FIELDS_1 FIELDS_2 "Connection: keep-alive\r\n" FIELDS_3, true},
      {"GET / HTTP/1.1\r\n" H, 304, "", Kind::chunked,
       "HTTP/1.1 304 Not Modified\r\n" FIELDS_1 FIELDS_2 "Connection: keep-alive\r\n" FIELDS_3,
       true},
      {"GET / HTTP/1.1\r\n" H, 299, "", Kind::none,
       "HTTP/1.1 299 \r\n" FIELDS_1 "Content-Length: 0\r\n" FIELDS_2
       "Connection: keep-alive\r\n" FIELDS_3,
       true},
      {"GET / HTTP/1.1\r\n" H, 200, "abc", Kind::until_close,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 FIELDS_2 "Connection: close\r\n" FIELDS_3 "abc", false},
      // A request that is not read to its end is never followed by another.
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\n" H, 200, "abc", Kind::exact,
       "HTTP/1.1 200 OK\r\n" FIELDS_1 "Content-Length: 3\r\n" FIELDS_2
       "Connection: keep-alive\r\n" FIELDS_3 "abc",
       false},
      {"G^T / HTTP/1.1\r\n" H, 400, "bad", Kind::exact,
       "HTTP/1.1 400 Bad Request\r\n" FIELDS_1 "Content-Length: 3\r\n" FIELDS_2
       "Connection: close\r\n" FIELDS_3 "bad",
       false},
  };
  for (const Case& one : cases) {
    CAPTURE(one.request, one.status);
    Server server;
    server.feed(one.request);
    CHECK(respond(server, one.status, one.body, one.kind) == one.expected);
    CHECK(server.codec->reusable() == one.reusable);
  }
}

TEST_CASE("h1 server: Keep-Alive, chunked_transfer_encoding off, interim heads, trailers") {
  Arena arena;
  Server server;
  server.feed("GET / HTTP/1.1\r\n" H);
  MessageHead interim;
  interim.status = 103;
  interim.headers.add(arena, "Link", "</x>");
  server.codec->send_interim(1, interim);
  CHECK(take_output(*server.codec) == "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
  MessageHead head;
  head.status = 200;
  head.reason = "200 Fine";
  head.keep_alive_seconds = 15;
  head.body.kind = BodyLength::Kind::chunked;
  server.codec->send_head(1, head, false);
  CHECK(take_output(*server.codec) ==
        "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n"
        "Keep-Alive: timeout=15\r\n\r\n");
  Chain data;
  data.push(Slice::borrowed(std::string_view("0123456789abcdef0123")));
  server.codec->send_data(1, data, false);
  CHECK(take_output(*server.codec) == "14\r\n0123456789abcdef0123\r\n");
  Chain nothing;
  server.codec->send_data(1, nothing, false);
  CHECK(take_output(*server.codec).empty());
  HeaderList trailers;
  trailers.add(arena, "T", "v");
  server.codec->send_trailers(1, trailers);
  CHECK(take_output(*server.codec) == "0\r\nT: v\r\n\r\n");
  CHECK(server.codec->reusable());

  Server off;
  off.feed("GET / HTTP/1.1\r\n" H);
  head.chunked_allowed = false;
  off.codec->send_head(1, head, false);
  CHECK(take_output(*off.codec) == "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n");
}

TEST_CASE("h1 server: a body never differs from its declared length") {
  for (std::string_view body : {"ab", "abcd"}) {
    Server server;
    server.feed("GET / HTTP/1.1\r\n" H);
    MessageHead head;
    head.status = 200;
    head.body = {BodyLength::Kind::exact, 3};
    server.codec->send_head(1, head, false);
    take_output(*server.codec);
    Chain data;
    data.push(Slice::borrowed(body));
    server.codec->send_data(1, data, true);
    CHECK(take_output(*server.codec) == body.substr(0, 3));
    CHECK_FALSE(server.codec->reusable());
  }
}

TEST_CASE("h1 server: pipelined requests wait for next_exchange") {
  for (size_t piece : kPieces) {
    CAPTURE(piece);
    Server server;
    const std::string first = "POST /1 HTTP/1.1\r\nContent-Length: 3\r\n" H "abc";
    const std::string second = "GET /2 HTTP/1.1\r\n" H;
    CHECK(server.codec->idle());
    CHECK(server.feed(first + second, piece) == first.size());
    CHECK(server.recorder.events ==
          "begin1 | head POST /1 11 host=h [Content-Length=3] exact 3 | data:abc | end");
    CHECK_FALSE(server.codec->idle());
    server.codec->next_exchange();  // too early: ignored
    CHECK(server.feed(second, piece) == 0);
    respond(server, 200, "x", BodyLength::Kind::exact);
    CHECK(server.codec->reusable());
    server.codec->next_exchange();
    CHECK(server.codec->idle());
    server.recorder.clear();
    respond(server, 200, "x", BodyLength::Kind::exact);  // the exchange is over: ignored
    CHECK(server.codec->output().empty());
    CHECK(server.feed(second, piece) == second.size());
    CHECK(server.recorder.events == "begin2 | head GET /2 11 host=h | end");
  }
}

TEST_CASE("h1 server: finish_connection closes with the next answer") {
  Server server;
  server.feed("GET / HTTP/1.1\r\n" H);
  server.codec->finish_connection();
  CHECK(respond(server, 200, "x", BodyLength::Kind::exact).find("Connection: close") !=
        std::string::npos);
  CHECK_FALSE(server.codec->reusable());
}

TEST_CASE("h1 server: credit") {
  Server server;
  server.recorder.give_credit = false;
  const size_t size = 300 * 1024;
  std::string text = "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(size) + "\r\n" H +
                     std::string(size, 'x');
  size_t taken = server.feed(text);
  CHECK(taken < text.size());
  CHECK(server.recorder.received == 128 * 1024);
  CHECK(server.feed(std::string_view(text).substr(taken)) == 0);
  server.codec->consumed(1, 1000);
  taken += server.feed(std::string_view(text).substr(taken));
  CHECK(server.recorder.received == 128 * 1024 + 1000);
  server.recorder.give_credit = true;
  server.codec->consumed(1, 128 * 1024);
  for (int i = 0; i < 10 && taken < text.size(); ++i) {
    taken += server.feed(std::string_view(text).substr(taken));
  }
  CHECK(taken == text.size());
  CHECK(server.recorder.ended);
}

TEST_CASE("h1 server: tunnels") {
  for (size_t piece : kPieces) {
    CAPTURE(piece);
    Server server;
    const std::string request =
        "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" H;
    const std::string early = "early bytes\r\n";
    CHECK(server.feed(request + early, piece) == request.size());
    CHECK(server.recorder.last->upgrade);
    Arena arena;
    MessageHead head;
    head.status = 101;
    head.headers.add(arena, "Upgrade", "websocket");
    server.codec->send_head(1, head, false);
    CHECK(take_output(*server.codec) ==
          "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    server.recorder.clear();
    CHECK(server.feed(early, piece) == early.size());
    server.codec->end_of_input();
    CHECK(server.recorder.events == "upgraded | data:" + early + " | end");
    Chain data;
    data.push(Slice::borrowed("down"));
    server.codec->send_data(1, data, false);
    CHECK(take_output(*server.codec) == "down");
    CHECK_FALSE(server.codec->reusable());
  }
}

TEST_CASE("h1 server: a tunnel begins behind the request's body") {
  Server server;
  server.feed("POST / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 4\r\n" H "ab");
  MessageHead head;
  head.status = 101;
  server.codec->send_head(1, head, false);
  server.recorder.clear();
  server.feed("cdraw");
  CHECK(server.recorder.events == "data:cd | end | upgraded | data:raw");
}

TEST_CASE("h1 server: the client goes away") {
  struct Case {
    std::string_view input;
    std::string_view events;
    std::string_view reason;
    std::string_view line;
  };
  const Case cases[] = {
      {"", "", "", ""},
      {"\r\n", "", "", ""},
      {"GE", "begin1 | reset 400",
       "client prematurely closed connection while reading client request line", "GE"},
      {"GET / HTTP/1.1\r\nHost", "begin1 | reset 400",
       "client prematurely closed connection while reading client request headers",
       "GET / HTTP/1.1"},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\n" H "ab",
       "begin1 | head POST / 11 host=h [Content-Length=3] exact 3 | data:ab | reset 400",
       "client prematurely closed connection", ""},
  };
  for (const Case& one : cases) {
    CAPTURE(one.input);
    Server server;
    server.feed(one.input, 1);
    server.codec->end_of_input();
    CHECK(server.recorder.events == one.events);
    CHECK(server.recorder.reason == one.reason);
    CHECK(server.recorder.request_line == one.line);
    CHECK_FALSE(server.codec->reusable());
  }
  // Half closed behind a whole request: it gets its answer, and no other follows.
  Server server;
  server.feed("GET / HTTP/1.1\r\n" H);
  server.codec->end_of_input();
  CHECK(respond(server, 200, "x", BodyLength::Kind::exact).size() > 10);
  CHECK_FALSE(server.codec->reusable());
}

TEST_CASE("h1 server: what is known of a refused request") {
  Server server;
  server.feed("get /x HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(server.recorder.request_line == "get /x HTTP/1.1");
  Server field;
  field.feed("GET /x HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n");
  CHECK(field.recorder.request_line == "GET /x HTTP/1.1");
}

TEST_CASE("h1 server: speed of a typical head", "[.][benchmark]") {
  const std::string text =
      "GET /path/to/some/page?with=a&few=arguments HTTP/1.1\r\nHost: www.example.com\r\n"
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\r\n"
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
      "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
      "Connection: keep-alive\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n"
      "Cache-Control: max-age=0\r\n\r\n";
  struct Silent final : CodecReceiver {
    Arena& on_begin(StreamId) override {
      arena.reset();
      return arena;
    }
    void on_interim(StreamId, MessageHead&) override {}
    void on_head(StreamId, MessageHead&) override { ++heads; }
    void on_data(StreamId, Slice) override {}
    void on_trailers(StreamId, HeaderList&) override {}
    void on_end(StreamId) override {}
    void on_upgraded(StreamId) override {}
    void on_reset(StreamId, const Reset&) override {}
    void on_goaway(StreamId) override {}
    void on_writable(StreamId) override {}
    Arena arena;
    size_t heads = 0;
  } receiver;
  auto codec = make_server_codec(receiver, kDefaults);
  Arena arena;
  MessageHead response;
  response.status = 200;
  response.body = {BodyLength::Kind::exact, 0};
  response.headers.add(arena, "Server", "weir");
  response.headers.add(arena, "Date", "Sun, 06 Nov 1994 08:49:37 GMT");
  response.headers.add(arena, "Content-Type", "text/html");
  response.headers.add(arena, "ETag", "\"0123456789\"");
  constexpr int kRounds = 500000;
  auto run = [&](bool answer) {
    auto begin = std::chrono::steady_clock::now();
    for (int i = 1; i <= kRounds; ++i) {
      if (!answer) codec = make_server_codec(receiver, kDefaults);
      codec->feed(Slice::borrowed(text));
      if (!answer) continue;
      codec->send_head(static_cast<StreamId>(i), response, true);
      codec->output().clear();
      codec->next_exchange();
    }
    std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    return spent.count() / kRounds;
  };
  std::cout << text.size() << " bytes: " << run(false) << " ns a head parsed\n";
  codec = make_server_codec(receiver, kDefaults);
  std::cout << run(true) << " ns parsed and answered\n";
  CHECK(receiver.heads == 2 * kRounds);

  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_header_field = [](llhttp_t*, const char*, size_t) { return 0; };
  settings.on_header_value = settings.on_header_field;
  settings.on_url = settings.on_header_field;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kRounds; ++i) llhttp_execute(&parser, text.data(), text.size());
  std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
  std::cout << spent.count() / kRounds << " ns in llhttp alone, with empty callbacks\n";
}

}  // namespace
}  // namespace weir::http::h1
