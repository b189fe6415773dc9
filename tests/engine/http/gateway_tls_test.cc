// The gateway over TLS: who the peer must be, and which connections may serve whom.

#include "engine/http/gateway.h"
#include "engine/http/h1/codec.h"
#include "engine/http/upstream_record.h"
#include "tests/engine/http/rig.h"
#include "tests/engine/tls/rig.h"
#include "tests/support/loopback.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;
using tls_test::Files;
using weir::test::Backend;
using weir::test::run_until;

namespace {

GatewaySettings* settings = nullptr;
upstream::Cluster* cluster = nullptr;
UpstreamTls* upstream_tls = nullptr;
std::string name;

class Plan final : public GatewayPlan {
 public:
  explicit Plan(Request& request) {
    this->settings = ::settings;
    this->cluster = ::cluster;
    tls = upstream_tls;
    tls_name = name;
    alpn = "\x08http/1.1";
    scheme = "https://";
    uri = request.received().target;
    traits = "tls test";
    make_codec = [](CodecReceiver& receiver, uint32_t head_limit) {
      h1::ClientOptions options;
      options.head_limit = head_limit;
      return h1::make_client_codec(receiver, options);
    };
  }
  void make_head(Request& request, const BodyLength&, MessageHead& head) override {
    head.method = request.current().method;
    head.method_text = request.current().method_text;
    head.target = uri;
    head.headers.add(request.arena(), "Host", "up");
  }
  std::string_view own_body(Request&) override { return {}; }
  std::string_view rewrite_header(Request&, const Header& header) override { return header.value; }
};

PhaseResult handle(Request& request) {
  return start_gateway(request, *request.arena().make<Plan>(request));
}

// A connection that the backend took.
struct Server {
  Server(Loop& loop, int descriptor, std::shared_ptr<const tls::ServerContext> context)
      : loop(loop) {
    chooser.alpn = "\x08http/1.1";
    auto layer = std::make_unique<tls::ServerLayer>(std::move(context), chooser);
    end.layer = chooser.layer = layer.get();
    REQUIRE(end.stream.open(loop, descriptor, &end));
    end.stream.set_layer(std::move(layer), &end);
    end.go();
  }
  bool asked() {
    return run_until(loop, [this] { return contains(end.received, "\r\n\r\n") || end.failed; }) &&
           !end.failed;
  }
  Loop& loop;
  tls_test::Chooser chooser;
  tls_test::End end;
};

struct Gateway {
  Gateway() : backend(rig.loop) {
    settings = &values;
    ::cluster = &group;
    upstream_tls = &tls;
    name = "localhost:8443";
    group.name = "up";
    group.host = "up";
    values.next_upstream.bits = static_cast<uint32_t>(NextUpstream::error);
    rig.add("/", handle);
    upstream::Server server;
    server.name = backend.text();
    server.addresses.push_back(*net::Address::parse(backend.text()));
    group.servers.push_back(server);
    use({});
  }
  ~Gateway() {
    rig.sessions.reset();
    rig.upstreams.close_idle();
  }
  void use(const tls::ClientOptions& options) {
    tls.context = Files::get().make(options);
    INFO(Files::get().problem());
    REQUIRE(tls.context);
  }
  Client& get() {
    if (!rig.sessions) rig.begin();
    clients.push_back(std::make_unique<Client>(rig));
    clients.back()->send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    return *clients.back();
  }
  std::unique_ptr<Server> accept() {
    auto context = Files::get().make(Files::get().server_options());
    REQUIRE(context);
    return std::make_unique<Server>(rig.loop, backend.accept()->release(), context);
  }
  std::string answer(Client& client) {
    std::string text;
    REQUIRE(run_until(rig.loop, [&] {
      text += client.receive();
      return contains(text, "\r\n\r\n") || client.ended;
    }));
    return text;
  }
  // A request that is answered on `server`.
  void exchange(Server& server) {
    Client& client = get();
    serve(server, client);
  }
  void serve(Server& server, Client& client) {
    REQUIRE(server.asked());
    server.end.received.clear();
    server.end.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    CHECK(body_of(answer(client)) == "ok");
  }

  Rig rig;
  Backend backend;
  GatewaySettings values;
  UpstreamTls tls;
  upstream::Cluster group;
  std::vector<std::unique_ptr<Client>> clients;
};

}  // namespace

TEST_CASE("gateway tls: a connection is encrypted and kept") {
  Gateway gateway;
  gateway.tls.send_server_name = true;
  Client& first = gateway.get();
  const auto server = gateway.accept();
  gateway.serve(*server, first);
  CHECK(server->chooser.asked == "localhost");
  CHECK(server->end.layer->alpn() == "http/1.1");
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
  gateway.exchange(*server);
  CHECK_FALSE(gateway.backend.waiting());
  server->end.stream.close();
  CHECK(run_until(gateway.rig.loop, [&] { return gateway.rig.upstreams.idle_connections() == 0; }));
}

TEST_CASE("gateway tls: connections serve none that asked for other names or other rules") {
  Gateway gateway;
  Client& first = gateway.get();
  const auto server = gateway.accept();
  gateway.serve(*server, first);
  CHECK(server->chooser.asked.empty());
  SECTION("another name") {
    name = "other";
  }
  SECTION("SNI") {
    gateway.tls.send_server_name = true;
  }
  SECTION("verification") {
    tls::ClientOptions options;
    options.verify = true;
    options.trusted_certificate = "/ca.pem";
    gateway.use(options);
  }
  Client& second = gateway.get();
  const auto other = gateway.accept();
  gateway.serve(*other, second);
  CHECK(gateway.rig.upstreams.idle_connections() == 2);
}

TEST_CASE("gateway tls: a peer that is not who it should be gets no request") {
  Gateway gateway;
  tls::ClientOptions options;
  options.verify = true;
  options.trusted_certificate = "/ca.pem";
  SECTION("another name") {
    name = "other";
  }
  SECTION("another authority") {
    options.trusted_certificate = "/stranger.pem";
  }
  gateway.use(options);
  Client& client = gateway.get();
  const auto server = gateway.accept();
  CHECK(gateway.answer(client).substr(9, 3) == "502");
  CHECK(server->end.received.empty());
  CHECK(gateway.rig.upstreams.idle_connections() == 0);
}

TEST_CASE("gateway tls: what comes unencrypted is an error") {
  Gateway gateway;
  Client& client = gateway.get();
  const auto peer = gateway.backend.accept();
  peer->send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfool");
  const std::string text = gateway.answer(client);
  CHECK(text.substr(9, 3) == "502");
  CHECK_FALSE(contains(text, "fool"));
}

TEST_CASE("gateway tls: a peer that does not shake hands times out") {
  Gateway gateway;
  gateway.values.connect_timeout.value = 50;
  Client& client = gateway.get();
  const auto peer = gateway.backend.accept();
  CHECK(gateway.answer(client).substr(9, 3) == "504");
  peer->until_end();
  CHECK(peer->ended);
}
