#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/engine/http/rig.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/weir-body-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  size_t files() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      count += entry.is_regular_file() ? 1 : 0;
    }
    return count;
  }
  std::string path;
};

std::string seen_file;

std::string text_of(const Chain& chain) {
  std::string text;
  for (size_t i = 0; i < chain.count(); ++i) {
    if (!chain[i].is_file()) {
      text += chain[i].view();
      continue;
    }
    std::string part(chain[i].size(), 0);
    REQUIRE(::pread(chain[i].file()->descriptor(), part.data(), part.size(), chain[i].offset()) ==
            static_cast<ssize_t>(part.size()));
    text += part;
  }
  return text;
}

Task<PhaseResult> read_and_echo(Request& request) {
  int status = co_await request.body().read_all(request);
  if (status != 0) co_return PhaseResult::status(status);
  seen_file = request.body().temp_file_name();
  std::string text = text_of(request.body().stored());
  co_return request.respond(200, {}, request.arena().copy(text));
}
PhaseResult echo(Request& request) {
  return PhaseResult::pending(read_and_echo(request));
}

Task<PhaseResult> stream_and_count(Request& request) {
  RequestBody& body = request.body();
  body.begin_streaming(request);
  size_t total = 0;
  while (true) {
    while (!body.arrived().empty()) {
      Slice slice = body.arrived().take_front();
      total += slice.size();
      body.consumed(slice.size());
    }
    if (body.ended()) break;
    if (body.error() != 0) co_return PhaseResult::status(body.error());
    co_await request.event().wait();
  }
  co_return request.respond(200, {}, request.arena().copy(std::to_string(total)));
}
PhaseResult count(Request& request) {
  return PhaseResult::pending(stream_and_count(request));
}
PhaseResult ignore(Request& request) {
  return request.respond(200, {}, "ignored");
}

std::string post(const std::string& path, const std::string& body, const std::string& more = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: a\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

struct BodyRig : Rig {
  BodyRig() {
    core().client_body_temp_path.path = folder.path;
    core().client_body_temp_path.levels[0] = 1;
    core().client_body_temp_path.levels[1] = 2;
    core().client_body_buffer_size.value = 1000;
    add("/echo", echo);
    add("/count", count);
    add("/ignore", ignore);
  }
  Folder folder;
};

}  // namespace

TEST_CASE("bodies in memory, whole and in pieces") {
  BodyRig rig;
  rig.begin();
  Client client(rig);
  CHECK(body_of(client.ask(post("/echo", "hello"))) == "hello");
  CHECK(seen_file.empty());
  std::string text(900, 'a');
  std::string request = post("/echo", text);
  client.send(request.substr(0, 200));
  rig.run();
  client.send(request.substr(200, 300));
  rig.run();
  CHECK(body_of(client.ask(request.substr(500))) == text);
  CHECK(seen_file.empty());
  CHECK(body_of(client.ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) == "abcde");
  CHECK(body_of(client.ask("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")) == "");
}

TEST_CASE("large bodies go to a file, which goes with the request") {
  BodyRig rig;
  rig.begin();
  Client client(rig);
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i);
  CHECK(body_of(client.ask(post("/echo", text))) == text);
  CHECK(seen_file == rig.folder.path + "/1/00/0000000001");
  CHECK(rig.folder.files() == 0);
  SECTION("unless it is to stay") {
    rig.core().client_body_in_file_only = BodyInFile::on;
    Client another(rig);
    CHECK(body_of(another.ask(post("/echo", "small"))) == "small");
    CHECK(rig.folder.files() == 1);
  }
}

TEST_CASE("bodies too large, too slow, cut off") {
  BodyRig rig;
  rig.core().client_max_body_size.value = 10;
  rig.core().client_body_timeout.value = 20;
  rig.begin();
  Client client(rig);
  SECTION("declared") {
    CHECK(status_of(client.ask(post("/echo", "01234567890"))) == "413");
  }
  SECTION("chunked") {
    CHECK(
        status_of(client.ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "b\r\n01234567890\r\n0\r\n\r\n")) == "413");
  }
  SECTION("malformed chunks") {
    CHECK(
        status_of(client.ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "zz\r\n")) == "400");
  }
  SECTION("slow: closed without an answer") {
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    CHECK(client.receive_to_end() == "");
    CHECK(client.ended);
  }
  SECTION("cut off") {
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    rig.run();
    client.close();
    rig.run();
    CHECK(rig.sessions->count() == 0);
  }
}

TEST_CASE("100-continue is sent when the body is wanted") {
  BodyRig rig;
  rig.begin();
  Client client(rig);
  std::string head =
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  CHECK(client.ask(head) == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(body_of(client.ask("ok")) == "ok");
  SECTION("and not for a refusal") {
    rig.core().client_max_body_size.value = 1;
    CHECK(client.ask(head).substr(0, 12) == "HTTP/1.1 413");
  }
}

TEST_CASE("a body nobody wanted is dropped, and the next request is served") {
  BodyRig rig;
  rig.begin();
  Client client(rig);
  std::string text(300000, 'b');
  std::string answer = client.ask(post("/ignore", text) + post("/echo", "next"));
  CHECK(contains(answer, "ignored"));
  CHECK(body_of(body_of(answer)) == "next");
  SECTION("or lingered over, when the connection ends") {
    std::string request = post("/ignore", text, "Connection: close\r\n");
    client.send(request.substr(0, 1000));
    CHECK(contains(client.receive(), "ignored"));
    client.send(request.substr(1000));
    client.close();
    rig.run();
    CHECK(rig.sessions->count() == 0);
  }
  SECTION("for as long as lingering lasts") {
    rig.core().lingering_time.value = 20;
    std::string request = post("/ignore", text);
    client.send(request.substr(0, 1000));
    client.receive_to_end();
    CHECK(client.ended);
  }
}

TEST_CASE("streaming hands on what arrives, and takes no more than is consumed") {
  BodyRig rig;
  rig.begin();
  Client client(rig);
  std::string text(600000, 'c');
  CHECK(body_of(client.ask(post("/count", text))) == "600000");
  CHECK(body_of(client.ask(post("/count", ""))) == "0");
}
