#include "engine/http/session.h"

#include <malloc.h>

#include "engine/http/exchange.h"
#include "engine/http/tunnel_handover.h"
#include "tests/engine/http/rig.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

PhaseResult hello(Request& request) {
  return request.respond(200, "text/plain", "hello\n");
}

std::vector<std::string> logged;
void log_line(Request& request) {
  logged.push_back(std::string(request.received().request_line) + " " +
                   std::to_string(request.response().status) + " " +
                   std::to_string(request.body_bytes_sent()) +
                   (request.completed() ? " ok" : " -"));
}

PhaseResult big(Request& request) {
  static const std::string text(4 << 20, 'x');
  request.response().status = 200;
  request.response().content_length = static_cast<int64_t>(text.size());
  if (request.send_head()) {
    Chain data;
    data.push(Slice::borrowed(text));
    request.send(std::move(data), true);
  }
  return PhaseResult::done();
}

// Sends pieces as the client takes them.
Task<PhaseResult> stream_pieces(Request& request) {
  request.response().status = 200;
  if (!request.send_head()) co_return PhaseResult::done();
  for (int i = 0; i < 200; ++i) {
    const bool ready = co_await request.wait_output();
    if (!ready) co_return PhaseResult::done();
    Chain data;
    data.push(Slice::copy_of(std::string(32768, static_cast<char>('a' + i % 26))));
    request.send(std::move(data), i == 199);
  }
  co_return PhaseResult::done();
}
PhaseResult pieces(Request& request) {
  return PhaseResult::pending(stream_pieces(request));
}

int waiting = 0;
Task<PhaseResult> wait_for_client(Request& request) {
  ++waiting;
  while (!request.client_gone()) {
    const Wait waited = co_await request.event().wait(5000);
    if (waited == Wait::timed_out) break;
  }
  --waiting;
  co_return PhaseResult::status(499);
}
PhaseResult hang(Request& request) {
  return PhaseResult::pending(wait_for_client(request));
}

std::unique_ptr<TunnelHandover> taken;
PhaseResult upgrade(Request& request) {
  request.response().status = 101;
  request.response().upgraded = true;
  request.send_head();
  taken = request.begin_tunnel();
  return PhaseResult::done();
}

const std::string kHello = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: ";

}  // namespace

TEST_CASE("a small response is one write, and the connection is kept") {
  Rig rig;
  rig.add("/", hello);
  rig.begin();
  Client client(rig);
  std::string answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(answer.substr(0, kHello.size()) == kHello);
  CHECK(
      answer.substr(kHello.size() + 29) ==
      "\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nhello\n");
  CHECK(client.reads == 1);
  CHECK(body_of(client.ask("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")) == "hello\n");
  CHECK_FALSE(client.ended);
  client.close();
  rig.run();
  CHECK(rig.sessions->count() == 0);
  CHECK(rig.worker.connections == 0);
}

TEST_CASE("heads may come in pieces, and requests in one piece") {
  Rig rig;
  rig.add("/", hello);
  rig.begin();
  Client client(rig);
  for (char c : std::string("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) {
    client.send(std::string(1, c));
    rig.run(2);
  }
  CHECK(body_of(client.receive()) == "hello\n");
  std::string many;
  for (int i = 0; i < 50; ++i) many += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  std::string answer = client.ask(many);
  size_t count = 0;
  for (size_t at = answer.find("hello\n"); at != answer.npos; at = answer.find("hello\n", at + 1)) {
    ++count;
  }
  CHECK(count == 50);
}

TEST_CASE("connections end when the request or the configuration says so") {
  Rig rig;
  rig.add("/", hello);
  SECTION("Connection: close") {
    rig.begin();
    Client client(rig);
    CHECK(contains(client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
                   "Connection: close\r\n"));
    CHECK(client.ended);
  }
  SECTION("HTTP/1.0") {
    rig.begin();
    Client client(rig);
    CHECK(contains(client.ask("GET / HTTP/1.0\r\n\r\n"), "Connection: close\r\n"));
    CHECK(client.ended);
  }
  SECTION("keepalive_requests") {
    rig.core().keepalive_requests.value = 2;
    rig.begin();
    Client client(rig);
    CHECK(contains(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "keep-alive"));
    CHECK(contains(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "Connection: close\r\n"));
    CHECK(client.ended);
  }
  SECTION("keepalive_timeout 0") {
    rig.core().keepalive_timeout.value = 0;
    rig.begin();
    Client client(rig);
    CHECK(contains(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "Connection: close\r\n"));
    CHECK(client.ended);
  }
  SECTION("a draining worker") {
    rig.begin();
    Client client(rig);
    Client idle(rig);
    idle.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    bool empty = false;
    rig.sessions->on_empty = [&empty] { empty = true; };
    client.send("GET / HTTP/1.1\r\n");
    rig.run();
    rig.worker.draining = true;
    rig.sessions->drain();
    idle.receive();
    CHECK(idle.ended);
    CHECK(contains(client.ask("Host: a\r\n\r\n"), "Connection: close\r\n"));
    CHECK(client.ended);
    rig.run();
    CHECK(empty);
  }
}

TEST_CASE("a response is written as the client reads it") {
  Rig rig;
  rig.add("/big", big);
  rig.add("/pieces", pieces);
  rig.begin();
  Client client(rig);
  client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(body_of(client.receive()).size() == 4 << 20);
  client.send("GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n");
  std::string answer = client.receive();
  CHECK(contains(answer, "Transfer-Encoding: chunked\r\n"));
  CHECK(answer.substr(answer.size() - 7) == "\r\n0\r\n\r\n");
  CHECK(answer.size() > 200 * 32768);
  CHECK(body_of(client.ask("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")).size() == 4 << 20);
}

TEST_CASE("malformed requests get a page and the end of the connection") {
  Rig rig;
  rig.graph().hooks.log_handlers.push_back(log_line);
  rig.add("/", hello);
  rig.begin();
  logged.clear();
  struct Row {
    const char* request;
    const char* status;
  };
  const Row rows[] = {
      {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
      {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"},
      {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"},
      {"GET /.. HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400 Bad Request"},
      {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405 Not Allowed"},
  };
  for (const Row& row : rows) {
    INFO(row.request);
    Client client(rig);
    std::string answer = client.ask(row.request);
    CHECK(contains(answer, std::string("HTTP/1.1 ") + row.status));
    CHECK(contains(body_of(answer), std::string("<center><h1>") + row.status +
                                        "</h1></center>\r\n"
                                        "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"));
  }
  CHECK(logged.size() == 6);
}

TEST_CASE("a client that leaves is noticed") {
  Rig rig;
  rig.graph().hooks.log_handlers.push_back(log_line);
  rig.add("/hang", hang);
  rig.add("/big", big);
  rig.begin();
  logged.clear();
  SECTION("while a handler works") {
    Client client(rig);
    client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.run();
    CHECK(waiting == 1);
    SECTION("by closing its direction") {
      client.finish();
    }
    SECTION("altogether") {
      client.close();
    }
    rig.run();
    CHECK(waiting == 0);
    CHECK(logged == std::vector<std::string>{"GET /hang HTTP/1.1 499 0 -"});
  }
  SECTION("while the response goes out") {
    Client client(rig);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.run();
    client.close();
    rig.run();
    REQUIRE(logged.size() == 1);
    CHECK(logged[0].substr(0, 22) == "GET /big HTTP/1.1 200 ");
  }
  SECTION("in the middle of a head") {
    Client client(rig);
    client.send("GET /hang HTTP/1.1\r\nHo");
    rig.run();
    client.close();
    rig.run();
    CHECK(logged == std::vector<std::string>{"GET /hang HTTP/1.1 400 0 -"});
  }
  SECTION("before it sent anything") {
    Client client(rig);
    rig.run();
    client.close();
    rig.run();
    CHECK(logged.empty());
  }
  CHECK(rig.sessions->count() == 0);
}

TEST_CASE("a session that is destroyed in the middle leaves nothing behind") {
  Rig rig;
  rig.add("/hang", hang);
  rig.add("/big", big);
  rig.begin();
  Client one(rig);
  Client two(rig);
  one.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  two.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
  rig.run();
  rig.sessions->close_all();
  rig.run();
  waiting = 0;
  CHECK(rig.worker.connections == 0);
}

TEST_CASE("timeouts of heads, idle connections and slow readers") {
  Rig rig;
  rig.graph().hooks.log_handlers.push_back(log_line);
  rig.core().keepalive_timeout.value = 20;
  rig.core().send_timeout.value = 20;
  rig.server->scope->write<ServerSettings>().client_header_timeout.value = 20;
  rig.add("/", hello);
  rig.add("/big", big);
  rig.begin();
  logged.clear();
  SECTION("nothing came") {
    Client client(rig);
    CHECK(client.receive_to_end() == "");
    CHECK(client.ended);
    CHECK(logged.empty());
  }
  SECTION("half a head came") {
    Client client(rig);
    client.send("GET / HTTP/1.1\r\n");
    CHECK(client.receive_to_end() == "");
    CHECK(client.ended);
    CHECK(logged == std::vector<std::string>{"GET / HTTP/1.1 408 0 -"});
  }
  SECTION("idle") {
    Client client(rig);
    CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "hello\n");
    client.receive_to_end();
    CHECK(client.ended);
    CHECK(logged == std::vector<std::string>{"GET / HTTP/1.1 200 6 ok"});
  }
  SECTION("the client does not read") {
    Client client(rig);
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 500 && logged.empty(); ++i) rig.loop.run_once(5);
    REQUIRE(logged.size() == 1);
    CHECK(logged[0].substr(0, 22) == "GET /big HTTP/1.1 200 ");
    CHECK(logged[0].back() == '-');
  }
  CHECK(rig.sessions->count() == 0);
}

TEST_CASE("limit_rate spreads a response over time") {
  Rig rig;
  rig.core().limit_rate = conf::Template::literal("100k");
  rig.core().send_timeout.value = 10000;
  rig.add("/", [](Request& request) {
    static const std::string text(130 * 1024, 'y');
    return request.respond(200, "text/plain", text);
  });
  rig.begin();
  Client client(rig);
  uint64_t begin = rig.loop.now();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  std::string all = client.receive_to_end();
  CHECK(body_of(all).size() == 130 * 1024);
  // A second's worth may go at once (nearly two, when the second turns); the rest waits for it.
  CHECK(rig.loop.now() - begin >= 900);
}

TEST_CASE("a new configuration serves the next request of an open connection") {
  Rig rig;
  rig.add("/", hello);
  rig.begin();
  Client client(rig);
  CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "hello\n");
  Ref<Generation> before = rig.worker.generation;
  rig.make_generation();
  rig.add("/", [](Request& request) { return request.respond(200, "text/plain", "new\n"); });
  rig.server->locations.finish();
  SECTION("with the listener") {
    rig.sessions->generation_changed(*before);
    CHECK(before->reference_count() == 1);
    CHECK(body_of(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")) == "new\n");
  }
  SECTION("or closes when the listener is gone") {
    rig.worker.generation->resources.listeners.clear();
    rig.sessions->generation_changed(*before);
    client.receive();
    CHECK(client.ended);
  }
}

TEST_CASE("a tunnel takes the connection, with bytes in both directions") {
  Rig rig;
  rig.graph().hooks.log_handlers.push_back(log_line);
  rig.graph().hooks.tunnels_keep_exchange = true;
  rig.add("/", upgrade);
  rig.begin();
  logged.clear();
  Client client(rig);
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
  rig.run();
  REQUIRE(taken);
  CHECK(rig.sessions->count() == 0);
  REQUIRE(taken->early_bytes.count() == 1);
  CHECK(taken->early_bytes[0].view() == "early");
  REQUIRE(taken->unsent.count() >= 1);
  CHECK(contains(std::string(taken->unsent[0].view()),
                 "HTTP/1.1 101 Switching Protocols\r\nServer: nginx\r\n"));
  CHECK(contains(std::string(taken->unsent[0].view()), "\r\nConnection: upgrade\r\n"));
  CHECK(taken->facts->requests == 1);
  CHECK(logged.empty());
  TunnelEnd end;
  end.sent_to_client = 1000;
  taken->log.finish(end);
  REQUIRE(logged.size() == 1);
  CHECK(logged[0] == "GET / HTTP/1.1 101 1000 ok");
  taken.reset();
}

TEST_CASE("an idle connection is small") {
  Rig rig;
  rig.add("/", hello);
  rig.begin();
  constexpr size_t kConnections = 400;
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(rig));
    clients.back()->ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  size_t before = ::mallinfo2().uordblks;
  clients.reserve(clients.size() + kConnections);
  size_t reserved = ::mallinfo2().uordblks - before;
  for (size_t i = 0; i < kConnections; ++i) {
    clients.push_back(std::make_unique<Client>(rig));
    clients.back()->ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  size_t after = ::mallinfo2().uordblks;
  size_t each = (after - before - reserved) / kConnections - sizeof(Client);
  WARN("idle keep-alive connection: " << each << " bytes of heap; Session " << sizeof(Session)
                                      << ", Exchange " << sizeof(Exchange) << ", Request "
                                      << sizeof(Request));
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(each < 800);
#endif
}
