#include "engine/tls/ocsp.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "confparse/worlds.h"
#include "tests/engine/tls/rig.h"

using namespace tls_test;
using tls::OcspAnswer;
using tls::OcspQuery;
using tls::Responder;

namespace {

tls::X509Pointer read_certificate(const std::string& text) {
  const tls::Bio bio = tls::memory_of(text);
  return tls::X509Pointer(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

// A responder that says what it is told to.
struct FakeResponder {
  explicit FakeResponder(std::string answer) : answer(std::move(answer)) {
    listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener, 5) == 0);
  }
  ~FakeResponder() {
    ::close(listener);
    if (connection >= 0) ::close(connection);
  }
  void serve() {
    if (connection < 0) connection = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (connection < 0) return;
    char buffer[4096];
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got > 0) request.append(buffer, static_cast<size_t>(got));
    if (request.find("\r\n\r\n") == std::string::npos) return;
    while (sent < answer.size()) {
      const ssize_t put =
          ::send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (put <= 0) return;
      sent += static_cast<size_t>(put);
    }
    ::shutdown(connection, SHUT_WR);
  }
  std::string answer;
  std::string request;
  size_t sent = 0;
  int listener = -1;
  int connection = -1;
};

std::string ask(const std::string& answer, std::string* request = nullptr) {
  Files& files = Files::get();
  const auto certificate = read_certificate(files.client.certificate);
  const auto issuer = read_certificate(files.authority.certificate);
  FakeResponder fake(answer);
  Loop loop;
  Responder responder;
  responder.host = "responder.test";
  responder.addresses = {net::Address::local_of(fake.listener)};
  struct Told {
    bool done = false;
    OcspAnswer answer;
  } told;
  OcspQuery query(
      loop, responder, certificate.get(), issuer.get(), {},
      [](void* owner, OcspAnswer& given) {
        static_cast<Told*>(owner)->done = true;
        static_cast<Told*>(owner)->answer = std::move(given);
      },
      &told);
  query.start();
  for (int round = 0; round < 2000 && !told.done; ++round) {
    fake.serve();
    loop.run_once(5);
  }
  REQUIRE(told.done);
  if (request) *request = fake.request;
  CHECK(told.answer.status == OcspAnswer::Status::failed);
  return told.answer.problem;
}

}  // namespace

TEST_CASE("URLs of responders are read", "[tls]") {
  conf::VirtualWorld world;
  Responder responder;
  std::string problem;
  REQUIRE(tls::parse_responder(&world, "http://127.0.0.1:8080/ocsp", responder, problem));
  CHECK(responder.host == "127.0.0.1:8080");
  CHECK(responder.uri == "/ocsp");
  CHECK(responder.addresses.size() == 1);
  CHECK_FALSE(tls::parse_responder(&world, "https://127.0.0.1/", responder, problem));
  CHECK(problem == "invalid URL prefix");
}

TEST_CASE("what responders send wrong is told", "[tls]") {
  const std::string where = " while requesting certificate status, responder: responder.test";
  std::string request;
  CHECK(ask("HTTP/1.1 404 Not Found\r\n\r\n", &request) ==
        "OCSP responder sent invalid response: \"HTTP/1.1 404 Not Found\"" + where);
  CHECK(request.substr(0, 5) == "GET /");
  CHECK(request.find(" HTTP/1.0\r\nHost: responder.test\r\n\r\n") != std::string::npos);
  CHECK(ask("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nx") ==
        "OCSP responder sent invalid \"Content-Type\" header: \"text/html\"" + where);
  CHECK(ask("HTTP/1.1 200 OK\r\n") == "OCSP responder prematurely closed connection" + where);
  CHECK(ask("HTTP/1.1 200 OK\r\n\r\nnonsense").find("d2i_OCSP_RESPONSE() failed (SSL: ") == 0);
  CHECK(ask("HTTP/1.1 200 OK\r\n\r\n" + std::string(100'000, 'x')) ==
        "OCSP responder sent too much" + where);
}
