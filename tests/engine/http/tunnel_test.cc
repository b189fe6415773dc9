#include "engine/http/tunnel.h"

#include "engine/http/tunnel_handover.h"
#include "tests/engine/http/rig.h"
#include "tests/support/loopback.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;
using weir::test::Backend;
using weir::test::make_pair;
using weir::test::Peer;
using weir::test::run_for;
using weir::test::run_until;

namespace {

std::vector<TunnelEnd> ends;
struct Line final : LateLog {
  void finish(const TunnelEnd& end) override { ends.push_back(end); }
};
void no_line(Request&) {}
std::unique_ptr<LateLog> make_line(Request&) {
  return std::make_unique<Line>();
}

int upstream_side = -1;
std::string early;  // came from the upstream behind its 101
TunnelOptions options;

PhaseResult upgrade(Request& request) {
  request.response().status = 101;
  request.response().upgraded = true;
  request.send_head();
  std::unique_ptr<TunnelHandover> client = request.begin_tunnel();
  auto stream = std::make_unique<net::Stream>();
  if (!client || !stream->open(request.worker().loop, upstream_side, nullptr))
    return PhaseResult::done();
  Chain first;
  if (!early.empty()) first.push(Slice::copy_of(early));
  start_tunnel(request.worker(), std::move(client), std::move(stream), std::move(first), nullptr,
               options);
  return PhaseResult::done();
}

// A client and an upstream with a tunnel between them.
struct Tunnelled {
  explicit Tunnelled(std::string_view behind_request = "", std::string from_upstream = "") {
    ends.clear();
    early = std::move(from_upstream);
    rig.add("/", upgrade);
    rig.graph().hooks.log_handlers.push_back(no_line);
    rig.graph().hooks.tunnel_log_handlers.push_back(make_line);
    rig.begin();
    int server_side = -1;
    client = make_pair(rig.loop, server_side);
    upstream = make_pair(rig.loop, upstream_side);
    rig.sessions->accept(server_side, *net::Address::parse("127.0.0.1:1"), 0);
    client->send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" +
                 std::string(behind_request));
    head = client->until("\r\n\r\n");
  }
  ~Tunnelled() {
    close_tunnels();
    options = TunnelOptions();
  }
  bool over() {
    return run_until(rig.loop, [] { return tunnel_count() == 0; });
  }

  Rig rig;
  std::unique_ptr<Peer> client;
  std::unique_ptr<Peer> upstream;
  std::string head;
};

}  // namespace

TEST_CASE("tunnel: bytes go both ways, and are counted when it ends") {
  Tunnelled tunnel;
  CHECK(tunnel.head.starts_with("HTTP/1.1 101 "));
  CHECK(tunnel_count() == 1);
  CHECK(tunnel.rig.sessions->count() == 0);
  for (int i = 0; i < 100; ++i) {
    tunnel.client->send("ping");
    CHECK(tunnel.upstream->until("ping") == "ping");
    tunnel.upstream->send("answer");
    CHECK(tunnel.client->until("answer") == "answer");
  }
  CHECK(ends.empty());
  tunnel.client->close();
  CHECK(tunnel.upstream->until_end().empty());
  tunnel.upstream->close();
  CHECK(tunnel.over());
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].received_from_client == 400);
  CHECK(ends[0].sent_to_upstream == 400);
  CHECK(ends[0].received_from_upstream == 600);
  CHECK(ends[0].sent_to_client == 600);
  CHECK(tunnel.rig.worker.connections == 0);
}

TEST_CASE("tunnel: bytes that came with the handshake are not lost, and come first") {
  Tunnelled tunnel("first", "greeting");
  CHECK(tunnel.upstream->until("first") == "first");
  CHECK(tunnel.client->until("greeting") == "greeting");
  tunnel.client->send(" second");
  CHECK(tunnel.upstream->until("second") == " second");
  tunnel.client->close();
  tunnel.upstream->close();
  CHECK(tunnel.over());
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].received_from_client == 12);
  CHECK(ends[0].sent_to_client == 8);
}

TEST_CASE("tunnel: one direction may end while the other goes on") {
  Tunnelled tunnel;
  Peer* from = tunnel.client.get();
  Peer* to = tunnel.upstream.get();
  SECTION("the client's") {}
  SECTION("the upstream's") {
    std::swap(from, to);
  }
  from->send("last words");
  from->finish();
  CHECK(to->until_end() == "last words");
  CHECK(tunnel_count() == 1);
  to->send("still here");
  CHECK(from->until("still here") == "still here");
  to->finish();
  CHECK(from->until_end().empty());
  CHECK(tunnel.over());
}

TEST_CASE("tunnel: a reader that stops holds the writer back, and nothing is lost") {
  Tunnelled tunnel;
  std::string all;
  for (int i = 0; all.size() < 8 << 20; ++i) all += std::to_string(i) + " ";
  size_t sent = 0;
  for (int stuck = 0; stuck < 20;) {
    const ssize_t count = ::send(tunnel.client->descriptor(), all.data() + sent,
                                 std::min<size_t>(all.size() - sent, 65536), MSG_NOSIGNAL);
    stuck = count > 0 ? 0 : stuck + 1;
    if (count > 0) sent += static_cast<size_t>(count);
    if (sent == all.size()) break;
    tunnel.rig.loop.run_once(1);
  }
  REQUIRE(sent < all.size());  // not swallowed
  // The other direction is free meanwhile.
  tunnel.upstream->send("hello");
  CHECK(tunnel.client->until("hello") == "hello");
  const bool done = run_until(tunnel.rig.loop, [&] {
    if (sent < all.size()) {
      const ssize_t count =
          ::send(tunnel.client->descriptor(), all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
      if (count > 0) sent += static_cast<size_t>(count);
    } else {
      tunnel.client->finish();
    }
    tunnel.upstream->take();
    return tunnel.upstream->ended;
  });
  CHECK(done);
  CHECK((tunnel.upstream->received == all));
}

TEST_CASE("tunnel: an end waits for what is still to be written") {
  Tunnelled tunnel;
  const std::string all(4 << 20, 'x');
  // More than the kernel holds: the rest waits in the tunnel when the end comes.
  size_t sent = 0;
  while (sent < all.size()) {
    const ssize_t count = ::send(tunnel.client->descriptor(), all.data(), 65536, MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<size_t>(count);
    if (count < 0) break;
    tunnel.rig.loop.run_once(0);
  }
  tunnel.client->finish();
  run_for(tunnel.rig.loop, 10);
  CHECK(tunnel.upstream->until_end().size() == sent);
}

TEST_CASE("tunnel: silence ends it after the read timeout; every byte puts that off") {
  options.read_timeout = 150;
  Tunnelled tunnel;
  for (int i = 0; i < 4; ++i) {
    run_for(tunnel.rig.loop, 50);
    tunnel.client->send("x");
    tunnel.upstream->until("x");
  }
  CHECK(tunnel_count() == 1);
  CHECK(tunnel.client->until_end().empty());
  CHECK(tunnel.upstream->until_end().empty());
  REQUIRE(ends.size() == 1);
  CHECK(ends[0].received_from_client == 4);
}

TEST_CASE("tunnel: a reader that takes nothing ends it after the send timeout") {
  options.send_timeout = 50;
  Tunnelled tunnel;
  const std::string piece(65536, 'x');
  CHECK(run_until(tunnel.rig.loop, [&] {
    (void)!::send(tunnel.client->descriptor(), piece.data(), piece.size(), MSG_NOSIGNAL);
    return tunnel_count() == 0;
  }));
}

TEST_CASE("tunnel: the send timeout is over when everything has been taken") {
  options.read_timeout = 0;
  options.send_timeout = 50;
  Tunnelled tunnel;
  size_t sent = 0;
  const std::string piece(65536, 'x');
  for (int stuck = 0; stuck < 5;) {
    const ssize_t count =
        ::send(tunnel.client->descriptor(), piece.data(), piece.size(), MSG_NOSIGNAL);
    stuck = count > 0 ? 0 : stuck + 1;
    if (count > 0) sent += static_cast<size_t>(count);
    tunnel.rig.loop.run_once(0);
  }
  CHECK(run_until(tunnel.rig.loop, [&] {
    tunnel.upstream->take();
    return tunnel.upstream->received.size() == sent;
  }));
  run_for(tunnel.rig.loop, 100);
  CHECK(tunnel_count() == 1);
}

TEST_CASE("tunnel: without timeouts it stays; close_tunnels ends it with its log line") {
  options.read_timeout = 0;
  options.send_timeout = 0;
  Tunnelled tunnel;
  run_for(tunnel.rig.loop, 30);
  CHECK(tunnel_count() == 1);
  close_tunnels();
  CHECK(tunnel_count() == 0);
  CHECK(ends.size() == 1);
  CHECK(tunnel.client->until_end().empty());
}

TEST_CASE("tunnel: a reset ends both sides") {
  Rig rig;
  rig.add("/", upgrade);
  rig.begin();
  early.clear();
  Backend front(rig.loop);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const net::Address address = *net::Address::parse(front.text());
  REQUIRE(::connect(client, address.data(), address.size()) == 0);
  Peer from(rig.loop, client);
  const auto accepted = front.accept();
  const auto upstream = make_pair(rig.loop, upstream_side);
  rig.sessions->accept(accepted->release(), address, 0);
  from.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx");
  upstream->until("x");
  CHECK(tunnel_count() == 1);
  from.reset();
  CHECK(upstream->until_end().empty());
  CHECK(run_until(rig.loop, [] { return tunnel_count() == 0; }));
}
