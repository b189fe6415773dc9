#include "engine/http/gateway.h"

#include <filesystem>

#include "engine/http/h1/codec.h"
#include "engine/http/upstream_record.h"
#include "tests/engine/http/rig.h"
#include "tests/support/loopback.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;
using weir::test::Backend;
using weir::test::run_for;
using weir::test::run_until;

namespace {

GatewaySettings* settings = nullptr;
upstream::Cluster* cluster = nullptr;
// "peer=status" of every attempt of the last request.
std::vector<std::string> attempts;

class Plan final : public GatewayPlan {
 public:
  explicit Plan(Request& request) {
    this->settings = ::settings;
    this->cluster = ::cluster;
    scheme = "http://";
    uri = request.received().target;
    traits = "test";
    make_codec = [](CodecReceiver& receiver, uint32_t head_limit) {
      h1::ClientOptions options;
      options.head_limit = head_limit;
      return h1::make_client_codec(receiver, options);
    };
  }
  void make_head(Request& request, const BodyLength& body, MessageHead& head) override {
    head.method = request.current().method;
    head.method_text = request.current().method_text;
    head.target = uri;
    head.headers.add(request.arena(), "Host", "up");
    if (body.kind == BodyLength::Kind::exact) {
      const std::string size = std::to_string(body.bytes);
      head.headers.add(request.arena(), "Content-Length", request.arena().copy(size));
    } else if (body.kind == BodyLength::Kind::chunked) {
      head.headers.add(request.arena(), "Transfer-Encoding", "chunked");
    }
  }
  std::string_view own_body(Request&) override { return {}; }
  std::string_view rewrite_header(Request&, const Header& header) override { return header.value; }
};

PhaseResult handle(Request& request) {
  return start_gateway(request, *request.arena().make<Plan>(request));
}
void log_attempts(Request& request) {
  attempts.clear();
  if (!request.upstream_record) return;
  for (const UpstreamAttempt& attempt : request.upstream_record->attempts) {
    attempts.push_back(std::string(attempt.peer) + "=" + std::to_string(attempt.status));
  }
}

struct Gateway {
  Gateway() {
    settings = &values;
    ::cluster = &group;
    attempts.clear();
    group.name = "up";
    group.host = "up";
    values.next_upstream.bits =
        static_cast<uint32_t>(NextUpstream::error) | static_cast<uint32_t>(NextUpstream::timeout);
    char folder[] = "/tmp/weir-gateway-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    values.temp_path.path = folder;
    Location& location = rig.add("/", handle);
    rig.settings(location).client_max_body_size.value = 0;
    rig.graph().hooks.log_handlers.push_back(log_attempts);
  }
  ~Gateway() {
    rig.sessions.reset();
    rig.upstreams.close_idle();
    std::filesystem::remove_all(values.temp_path.path);
  }
  void allow(NextUpstream condition) {
    values.next_upstream.bits |= static_cast<uint32_t>(condition);
  }
  upstream::Server& serve(const Backend& backend) {
    upstream::Server server;
    server.name = backend.text();
    server.addresses.push_back(*net::Address::parse(backend.text()));
    group.servers.push_back(server);
    return group.servers.back();
  }
  // Begins to serve; a client that has sent `text`.
  Client& ask(std::string_view text) {
    if (!rig.sessions) rig.begin();
    clients.push_back(std::make_unique<Client>(rig));
    clients.back()->send(text);
    return *clients.back();
  }

  Rig rig;
  GatewaySettings values;
  upstream::Cluster group;
  std::vector<std::unique_ptr<Client>> clients;
};

const std::string kGet = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kPost = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// The client's next request goes up on a connection of its own, and has that one's answer.
void check_a_new_connection(Backend& backend, Client& client) {
  client.send(kGet);
  const auto peer = backend.accept();
  peer->until("\r\n\r\n");
  peer->send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean");
  CHECK(body_of(receive_until(client, "clean")) == "clean");
}

}  // namespace

TEST_CASE("gateway: a request goes up and its answer comes back; the connection is kept") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  Client& client = gateway.ask(kGet);
  const auto peer = backend.accept();
  CHECK(peer->until("\r\n\r\n") == "GET /a HTTP/1.1\r\nHost: up\r\n\r\n");
  peer->send(kOk);
  CHECK(body_of(receive_until(client, "ok")) == "ok");
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
  client.send(kGet);
  peer->until("\r\n\r\n");
  CHECK_FALSE(backend.waiting());
  peer->send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye");
  CHECK(body_of(receive_until(client, "bye")) == "bye");
  CHECK(gateway.rig.upstreams.idle_connections() == 0);
}

TEST_CASE("gateway: a kept connection that closes is tried again on a new one, without a loss") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  gateway.values.next_upstream_tries.value = 1;
  Client& client = gateway.ask(kGet);
  auto first = backend.accept();
  first->until("\r\n\r\n");
  first->send(kOk);
  receive_until(client, "ok");
  SECTION("closed while idle: it leaves the pool") {
    first->close();
    CHECK(
        run_until(gateway.rig.loop, [&] { return gateway.rig.upstreams.idle_connections() == 0; }));
    client.send(kGet);
  }
  SECTION("closed when the request had gone out on it") {
    client.send(kGet);
    first->until("\r\n\r\n");
    first->close();
  }
  auto second = backend.accept();
  second->until("\r\n\r\n");
  second->send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
  CHECK(status_of(receive_until(client, "again")) == "200");
}

TEST_CASE("gateway: a peer that sends on an idle connection has lost it") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  Client& client = gateway.ask(kGet);
  const auto peer = backend.accept();
  peer->until("\r\n\r\n");
  peer->send(kOk);
  receive_until(client, "ok");
  peer->send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
  CHECK(peer->until_end().empty());
  check_a_new_connection(backend, client);
}

TEST_CASE("gateway: what comes behind an answer never reaches the next request") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  Client& client = gateway.ask(kGet);
  const auto peer = backend.accept();
  peer->until("\r\n\r\n");
  peer->send(kOk + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
  CHECK(body_of(receive_until(client, "ok")) == "ok");
  CHECK(gateway.rig.upstreams.idle_connections() == 0);
  check_a_new_connection(backend, client);
}

TEST_CASE("gateway: the next peer is tried when one refuses, closes early, or answers badly") {
  Gateway gateway;
  Backend bad(gateway.rig.loop);
  Backend good(gateway.rig.loop);
  gateway.serve(bad).weight = 10;  // the first to be asked
  gateway.serve(good);
  std::string first_status = "502";
  bool retried = true;
  Client* client = nullptr;
  SECTION("refused") {
    bad.close();
    client = &gateway.ask(kGet);
  }
  SECTION("closed without an answer") {
    client = &gateway.ask(kGet);
    const auto peer = bad.accept();
    peer->until("\r\n\r\n");
  }
  SECTION("reset") {
    client = &gateway.ask(kGet);
    const auto peer = bad.accept();
    peer->until("\r\n\r\n");
    peer->reset();
  }
  SECTION("a malformed head, with invalid_header") {
    gateway.allow(NextUpstream::invalid_header);
    client = &gateway.ask(kGet);
    const auto peer = bad.accept();
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
    peer->until("\r\n\r\n");
  }
  SECTION("a malformed head, without") {
    client = &gateway.ask(kGet);
    const auto peer = bad.accept();
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
    retried = false;
  }
  SECTION("503, with http_503") {
    gateway.allow(NextUpstream::http_503);
    first_status = "503";
    client = &gateway.ask(kGet);
    const auto peer = bad.accept();
    peer->until("\r\n\r\n");
    peer->send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    good.accept()->until("\r\n\r\n");
    run_until(gateway.rig.loop, [&] { return client->ended || !attempts.empty(); });
    CHECK(attempts == std::vector<std::string>{bad.text() + "=503", good.text() + "=502"});
    return;
  }
  if (!retried) {
    CHECK(status_of(receive_until(*client, "\r\n\r\n")) == "502");
    CHECK_FALSE(good.waiting());
    return;
  }
  const auto peer = good.accept();
  peer->until("\r\n\r\n");
  peer->send(kOk);
  CHECK(body_of(receive_until(*client, "ok")) == "ok");
  CHECK(attempts ==
        std::vector<std::string>{bad.text() + "=" + first_status, good.text() + "=200"});
}

TEST_CASE("gateway: a request that changes something is sent once, unless non_idempotent") {
  Gateway gateway;
  Backend bad(gateway.rig.loop);
  Backend good(gateway.rig.loop);
  gateway.serve(bad).weight = 10;
  gateway.serve(good);
  SECTION("sent: no second time") {
    Client& client = gateway.ask(kPost);
    bad.accept()->until("abc");
    CHECK(status_of(receive_until(client, "\r\n\r\n")) == "502");
    CHECK_FALSE(good.waiting());
    return;
  }
  SECTION("not sent yet: another peer may have it") {
    bad.close();
    gateway.ask(kPost);
  }
  SECTION("non_idempotent") {
    gateway.allow(NextUpstream::non_idempotent);
    gateway.ask(kPost);
    bad.accept()->until("abc");
  }
  const auto peer = good.accept();
  CHECK(contains(peer->until("abc"), "POST /a HTTP/1.1\r\n"));
  peer->send(kOk);
  CHECK(body_of(receive_until(*gateway.clients[0], "ok")) == "ok");
}

TEST_CASE("gateway: limits of tries and of time end the search") {
  Gateway gateway;
  std::vector<std::unique_ptr<Backend>> closed;
  for (int i = 0; i < 4; ++i) {
    closed.push_back(std::make_unique<Backend>(gateway.rig.loop));
    gateway.serve(*closed.back());
    closed.back()->close();
  }
  SECTION("all") {
    CHECK(status_of(receive_until(gateway.ask(kGet), "\r\n\r\n")) == "502");
    CHECK(attempts.size() == 4);
    // All have failed: now there is none.
    CHECK(status_of(receive_until(gateway.ask(kGet), "\r\n\r\n")) == "502");
    CHECK(attempts == std::vector<std::string>{"up=502"});
  }
  SECTION("two tries") {
    gateway.values.next_upstream_tries.value = 2;
    CHECK(status_of(receive_until(gateway.ask(kGet), "\r\n\r\n")) == "502");
    CHECK(attempts.size() == 2);
  }
  SECTION("off") {
    gateway.values.next_upstream.bits = static_cast<uint32_t>(NextUpstream::off);
    CHECK(status_of(receive_until(gateway.ask(kGet), "\r\n\r\n")) == "502");
    CHECK(attempts.size() == 1);
  }
}

TEST_CASE("gateway: a silent peer times out") {
  Gateway gateway;
  Backend silent(gateway.rig.loop);
  gateway.serve(silent);
  gateway.values.read_timeout.value = 30;
  SECTION("before its head: 504") {
    Client& client = gateway.ask(kGet);
    const auto peer = silent.accept();
    peer->until("\r\n\r\n");
    CHECK(status_of(receive_until(client, "\r\n\r\n")) == "504");
    CHECK(attempts == std::vector<std::string>{silent.text() + "=504"});
    CHECK(peer->until_end().empty());
  }
  SECTION("and the next peer is tried, when there is time") {
    Backend good(gateway.rig.loop);
    gateway.group.servers[0].weight = 10;
    gateway.serve(good);
    Client* client = nullptr;
    SECTION("no limit") {
      client = &gateway.ask(kGet);
      const auto held = silent.accept();
      const auto peer = good.accept();
      peer->send(kOk);
      CHECK(status_of(receive_until(*client, "ok")) == "200");
    }
    SECTION("proxy_next_upstream_timeout has passed") {
      gateway.values.next_upstream_timeout.value = 10;
      client = &gateway.ask(kGet);
      const auto held = silent.accept();
      CHECK(status_of(receive_until(*client, "\r\n\r\n")) == "504");
      CHECK_FALSE(good.waiting());
    }
  }
  SECTION("in the body: the client sees that it is not whole") {
    Client& client = gateway.ask(kGet);
    const auto peer = silent.accept();
    peer->send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    const std::string text = client.receive_to_end();
    CHECK(status_of(text) == "200");
    CHECK(contains(text, "abc"));
    CHECK_FALSE(contains(text, "0\r\n\r\n"));
  }
  SECTION("bytes that keep coming keep it alive") {
    gateway.values.read_timeout.value = 200;
    gateway.values.buffering = false;
    Client& client = gateway.ask(kGet);
    const auto peer = silent.accept();
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    for (int i = 0; i < 8; ++i) {
      run_for(gateway.rig.loop, 40);
      peer->send("x");
    }
    CHECK(body_of(receive_until(client, "xxxxxxxx")) == "xxxxxxxx");
  }
}

TEST_CASE("gateway: a body cut short ends the client's connection") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  Client& client = gateway.ask(kGet);
  auto peer = backend.accept();
  peer->until("\r\n\r\n");
  SECTION("of known length") {
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    peer->close();
    const std::string text = client.receive_to_end();
    CHECK(contains(text, "Content-Length: 10\r\n"));
    CHECK(body_of(text) == "abc");
  }
  SECTION("chunked") {
    peer->send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    peer->close();
    CHECK_FALSE(contains(client.receive_to_end(), "0\r\n\r\n"));
  }
  CHECK(client.ended);
}

TEST_CASE("gateway: unbuffered, every piece goes on at once; buffered, the peer is soon free") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  SECTION("unbuffered") {
    gateway.values.buffering = false;
    Client& client = gateway.ask(kGet);
    const auto peer = backend.accept();
    peer->until("\r\n\r\n");
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
    receive_until(client, "\r\n\r\n");
    peer->send("abc");
    CHECK(receive_until(client, "abc") == "abc");
    peer->send("def");
    CHECK(receive_until(client, "def") == "def");
  }
  SECTION("a client that does not read holds an unbuffered peer back") {
    gateway.values.buffering = false;
    gateway.ask(kGet);
    const auto peer = backend.accept();
    const size_t size = 64 << 20;
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
    const std::string piece(65536, 'x');
    size_t sent = 0;
    for (int stuck = 0; stuck < 50 && sent < size;) {
      const ssize_t count = ::send(peer->descriptor(), piece.data(), piece.size(), MSG_NOSIGNAL);
      stuck = count > 0 ? 0 : stuck + 1;
      if (count > 0) sent += static_cast<size_t>(count);
      gateway.rig.loop.run_once(1);
    }
    CHECK(sent < size);
  }
  SECTION("buffered: the temporary file takes what a slow client does not") {
    Client& client = gateway.ask(kGet);
    const auto peer = backend.accept();
    std::string body;
    for (int i = 0; body.size() < 8 << 20; ++i) body += std::to_string(i) + " ";
    peer->send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
    peer->send(body);  // while the client reads nothing
    CHECK(
        run_until(gateway.rig.loop, [&] { return gateway.rig.upstreams.idle_connections() == 1; }));
    std::string text;
    CHECK(run_until(gateway.rig.loop, [&] {
      text += client.receive();
      return client.ended || body_of(text).size() >= body.size();
    }));
    CHECK((body_of(text) == body));
  }
}

TEST_CASE("gateway: an answer before the body has gone up is passed on at once") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  gateway.values.request_buffering = false;
  Client& client = gateway.ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
  const auto peer = backend.accept();
  CHECK(contains(peer->until("abc"), "Content-Length: 1000\r\n"));
  peer->send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
  CHECK(status_of(receive_until(client, "big")) == "413");
  // The exchange is not whole: nobody else gets this connection.
  CHECK(gateway.rig.upstreams.idle_connections() == 0);
}

TEST_CASE("gateway: request bodies buffered and streamed") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  SECTION("buffered: nothing goes up before it is whole, and its length is known") {
    Client& client = gateway.ask(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    run_for(gateway.rig.loop, 20);
    CHECK_FALSE(backend.waiting());
    client.send("2\r\nde\r\n0\r\n\r\n");
    const auto peer = backend.accept();
    CHECK(contains(peer->until("abcde"), "Content-Length: 5\r\n"));
    peer->send(kOk);
    receive_until(client, "ok");
  }
  SECTION("streamed: pieces go up as they come") {
    gateway.values.request_buffering = false;
    Client& client = gateway.ask(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    const auto peer = backend.accept();
    CHECK(contains(peer->until("3\r\nabc\r\n"), "Transfer-Encoding: chunked\r\n"));
    client.send("2\r\nde\r\n0\r\n\r\n");
    CHECK(peer->until("0\r\n\r\n") == "2\r\nde\r\n0\r\n\r\n");
    peer->send(kOk);
    receive_until(client, "ok");
    CHECK(gateway.rig.upstreams.idle_connections() == 1);
  }
  SECTION("streamed: not sent a second time") {
    Backend other(gateway.rig.loop);
    gateway.group.servers[0].weight = 10;
    gateway.serve(other);
    gateway.values.request_buffering = false;
    Client& client = gateway.ask("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc");
    backend.accept()->until("abc");
    CHECK(status_of(receive_until(client, "\r\n\r\n")) == "502");
    CHECK_FALSE(other.waiting());
  }
  SECTION("not streamed where it came with its head") {
    Backend other(gateway.rig.loop);
    gateway.group.servers[0].weight = 10;
    gateway.serve(other);
    gateway.values.request_buffering = false;
    Client& client = gateway.ask(
        "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\n\r\n");
    CHECK(contains(backend.accept()->until("abc"), "Content-Length: 3\r\n"));
    const auto peer = other.accept();
    peer->until("abc");
    peer->send(kOk);
    receive_until(client, "ok");
  }
}

TEST_CASE("gateway: a client that leaves takes its upstream connection along") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  Client& client = gateway.ask(kGet);
  const auto peer = backend.accept();
  peer->until("\r\n\r\n");
  SECTION("by default") {
    client.close();
    CHECK(peer->until_end().empty());
    CHECK(attempts == std::vector<std::string>{backend.text() + "=0"});
  }
  SECTION("not with ignore_client_abort") {
    gateway.values.ignore_client_abort = true;
    client.close();
    run_for(gateway.rig.loop, 20);
    peer->take();
    CHECK_FALSE(peer->ended);
    peer->send(kOk);
    CHECK(run_until(gateway.rig.loop, [] { return !attempts.empty(); }));
    CHECK(attempts == std::vector<std::string>{backend.text() + "=200"});
  }
  CHECK(run_until(gateway.rig.loop, [&] { return gateway.rig.sessions->count() == 0; }));
}

TEST_CASE("gateway: a response head over the buffer is refused") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  gateway.serve(backend);
  gateway.values.buffer_size.value = 1024;
  Client& client = gateway.ask(kGet);
  const auto peer = backend.accept();
  peer->send("HTTP/1.1 200 OK\r\nX-A: " + std::string(2000, 'a') + "\r\n\r\n");
  CHECK(status_of(receive_until(client, "\r\n\r\n")) == "502");
}

TEST_CASE("gateway: a kept connection that closes is no failure of its server") {
  Gateway gateway;
  Backend backend(gateway.rig.loop);
  Backend other(gateway.rig.loop);
  gateway.serve(backend).max_fails = 1;
  gateway.serve(other).down = true;  // with one server nothing would be counted
  SECTION("whatever the retry budget") {
    gateway.group.retry_budget.enabled = true;
    gateway.group.retry_budget.least_per_thousand_seconds = 0;
  }
  SECTION("without one") {}
  Client& client = gateway.ask(kGet);
  auto peer = backend.accept();
  // Again and again: no try is used up, and the server is never taken out.
  for (int i = 0; i < 4; ++i) {
    peer->until("\r\n\r\n");
    peer->send(kOk);
    CHECK(status_of(receive_until(client, "ok")) == "200");
    client.send(kGet);
    peer->until("\r\n\r\n");
    peer->close();
    peer = backend.accept();
  }
  peer->until("\r\n\r\n");
  peer->send(kOk);
  CHECK(status_of(receive_until(client, "ok")) == "200");
  CHECK(attempts.size() == 2);
  // A new connection that closes is one.
  client.send("GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  peer->until("\r\n\r\n");
  peer->close();
  peer = backend.accept();
  peer->until("\r\n\r\n");
  peer->close();
  CHECK(status_of(receive_until(client, "\r\n\r\n")) == "502");
  Client& next = gateway.ask(kGet);
  CHECK(status_of(receive_until(next, "\r\n\r\n")) == "502");
  CHECK_FALSE(backend.waiting());
}

TEST_CASE("gateway: retries stay in their budget") {
  Gateway gateway;
  Backend one(gateway.rig.loop), two(gateway.rig.loop);
  gateway.serve(one).max_fails = 0;
  gateway.serve(two).max_fails = 0;
  gateway.group.retry_budget.enabled = true;
  gateway.group.retry_budget.percent = 50;
  gateway.group.retry_budget.least_per_thousand_seconds = 0;
  gateway.group.keepalive.enabled = false;
  std::string expected;
  SECTION("of connections that fail") {
    expected = "502";
  }
  SECTION("of answers that another server might do better") {
    gateway.allow(NextUpstream::http_503);
    expected = "503";
  }
  const auto fail = [&](Backend& backend) {
    const auto peer = backend.accept();
    peer->until("\r\n\r\n");
    if (expected == "503") peer->send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    peer->close();
  };
  // Half a retry for the first request, one for the second, none for the third.
  Client& first = gateway.ask(kGet);
  fail(one);
  CHECK(status_of(receive_until(first, "\r\n\r\n")) == expected);
  CHECK(attempts.size() == 1);
  Client& second = gateway.ask(kGet);
  fail(two);
  const auto answering = one.accept();
  answering->until("\r\n\r\n");
  answering->send(kOk);
  CHECK(status_of(receive_until(second, "ok")) == "200");
  Client& third = gateway.ask(kGet);
  fail(one);
  CHECK(status_of(receive_until(third, "\r\n\r\n")) == expected);
  CHECK(attempts.size() == 1);
}
