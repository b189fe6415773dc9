// The gateway over HTTP/2: streams of shared connections.

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "engine/http/gateway.h"
#include "engine/http/h2/codec.h"
#include "engine/http/upstream_record.h"
#include "tests/engine/http/rig.h"
#include "tests/support/loopback.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;
using weir::test::Backend;
using weir::test::Peer;
using weir::test::run_until;

namespace {

constexpr uint32_t kNoError = 0, kRefused = 7, kCancel = 8;

GatewaySettings* settings = nullptr;
upstream::Cluster* cluster = nullptr;
bool trailers_up = false;

class Plan final : public GatewayPlan {
 public:
  explicit Plan(Request& request) {
    this->settings = ::settings;
    this->cluster = ::cluster;
    scheme = "http://";
    uri = request.received().target;
    traits = "streams";
    multiplexed = true;
    pass_request_trailers = trailers_up;
    make_codec = [](CodecReceiver& receiver, uint32_t head_limit) {
      h2::ClientOptions options;
      options.head_limit = head_limit;
      return h2::make_client_codec(receiver, options);
    };
  }
  void make_head(Request& request, const BodyLength&, MessageHead& head) override {
    head.method = request.current().method;
    head.method_text = request.current().method_text;
    head.target = uri;
    head.scheme = "http";
    head.authority = "up";
  }
  std::string_view own_body(Request&) override { return {}; }
  std::string_view rewrite_header(Request&, const Header& header) override { return header.value; }
};

PhaseResult handle(Request& request) {
  return start_gateway(request, *request.arena().make<Plan>(request));
}

// One connection that the backend took, and what came on it.
struct Server final : CodecReceiver {
  struct Stream {
    std::string target, body, trailer;
    bool head = false, ended = false, reset = false;
    uint32_t code = 0;
  };
  Server(Loop& loop, std::unique_ptr<Peer> accepted, uint32_t limit = 128)
      : loop(loop), peer(std::move(accepted)) {
    h2::ServerOptions options;
    options.max_concurrent_streams = limit;
    codec = h2::make_server_codec(*this, limits, options);
  }

  Arena& on_begin(StreamId stream) override {
    streams[stream];
    return arena;
  }
  void on_interim(StreamId, MessageHead&) override {}
  void on_head(StreamId stream, MessageHead& head) override {
    streams[stream].head = true;
    streams[stream].target = head.target;
  }
  void on_data(StreamId stream, Slice data) override {
    streams[stream].body += data.view();
    if (give_credit) codec->consumed(stream, data.size());
  }
  void on_trailers(StreamId stream, HeaderList& trailers) override {
    for (const Header& field : trailers) streams[stream].trailer += field.value;
  }
  void on_end(StreamId stream) override { streams[stream].ended = true; }
  void on_upgraded(StreamId) override {}
  void on_reset(StreamId stream, const Reset& reset) override {
    streams[stream].reset = true;
    streams[stream].code = reset.code;
  }
  void on_goaway(StreamId) override {}
  void on_writable(StreamId stream) override { writable.insert(stream); }

  void pump() {
    peer->take();
    if (!peer->received.empty()) {
      const std::string text = std::move(peer->received);
      peer->received.clear();
      codec->feed(Slice::copy_of(text));
    }
    for (const StreamId stream : std::exchange(writable, {})) {
      auto found = unsent.find(stream);
      if (found != unsent.end()) codec->send_data(stream, found->second, true);
    }
    while (!codec->output().empty()) peer->send(codec->output().take_front().view());
  }
  bool until(const std::function<bool()>& condition) {
    return run_until(loop, [&] {
      pump();
      return condition();
    });
  }
  // The stream of that target, once its request is complete (or its head is there).
  StreamId request(const std::string& target, bool whole = true) {
    StreamId found = 0;
    REQUIRE(until([&] {
      for (const auto& [id, stream] : streams) {
        if (stream.target == target && !answered.count(id) && (stream.ended || !whole)) found = id;
      }
      return found != 0;
    }));
    return found;
  }
  void head(StreamId stream, int status, bool end = false, std::string_view name = {},
            std::string_view value = {}) {
    MessageHead head;
    head.version = Version::http_2;
    head.status = status;
    head.body.kind = end ? BodyLength::Kind::none : BodyLength::Kind::chunked;
    if (!name.empty()) head.headers.add(arena, arena.copy(name), arena.copy(value));
    codec->send_head(stream, head, end);
    answered.insert(stream);
    pump();
  }
  void data(StreamId stream, std::string_view text, bool end) {
    Chain& chain = unsent[stream];
    chain.push(Slice::copy_of(text));
    codec->send_data(stream, chain, end);
    pump();
  }
  void answer(StreamId stream, std::string_view body) {
    head(stream, 200);
    data(stream, body, true);
  }
  void trailers(StreamId stream, std::string_view name, std::string_view value) {
    HeaderList list;
    list.add(arena, arena.copy(name), arena.copy(value));
    codec->send_trailers(stream, list);
    pump();
  }
  static std::string number(uint32_t value) {
    return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
            static_cast<char>(value >> 8), static_cast<char>(value)};
  }
  // Frames by hand, with numbers of the wire.
  void goaway(uint32_t last) {
    pump();
    peer->send(std::string("\0\0\x08\x07\0\0\0\0\0", 9) + number(last) + number(kNoError));
  }
  void reset(uint32_t stream, uint32_t code) {
    pump();
    peer->send(std::string("\0\0\x04\x03\0", 5) + number(stream) + number(code));
  }

  Loop& loop;
  std::unique_ptr<Peer> peer;
  Arena arena;
  HeadLimits limits;
  std::unique_ptr<Codec> codec;
  std::map<StreamId, Stream> streams;
  std::map<StreamId, Chain> unsent;
  std::set<StreamId> writable, answered;
  bool give_credit = true;
};

struct Gateway {
  Gateway() : backend(rig.loop) {
    settings = &values;
    ::cluster = &group;
    trailers_up = false;
    group.name = "up";
    group.host = "up";
    values.next_upstream.bits =
        static_cast<uint32_t>(NextUpstream::error) | static_cast<uint32_t>(NextUpstream::timeout);
    char folder[] = "/tmp/weir-streams-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    values.temp_path.path = folder;
    Location& location = rig.add("/", handle);
    rig.settings(location).client_max_body_size.value = 0;
    rig.settings(location).client_body_buffer_size.value = 2 << 20;
    upstream::Server server;
    server.name = backend.text();
    server.addresses.push_back(*net::Address::parse(backend.text()));
    group.servers.push_back(server);
  }
  ~Gateway() {
    rig.sessions.reset();
    rig.upstreams.close_idle();
    std::filesystem::remove_all(values.temp_path.path);
  }
  Client& ask(std::string_view text) {
    if (!rig.sessions) rig.begin();
    clients.push_back(std::make_unique<Client>(rig));
    clients.back()->send(text);
    return *clients.back();
  }
  Client& get(const std::string& target) {
    return ask("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  Client& post(const std::string& target) {
    return ask("POST " + target + " HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  }
  std::unique_ptr<Server> accept(uint32_t limit = 128) {
    return std::make_unique<Server>(rig.loop, backend.accept(), limit);
  }

  Rig rig;
  Backend backend;
  GatewaySettings values;
  upstream::Cluster group;
  std::vector<std::unique_ptr<Client>> clients;
};

}  // namespace

TEST_CASE("streams: requests share a connection, and it is kept") {
  Gateway gateway;
  Client& one = gateway.get("/1");
  Client& two = gateway.get("/2");
  const auto server = gateway.accept();
  const StreamId first = server->request("/1");
  const StreamId second = server->request("/2");
  server->answer(second, "second!");
  CHECK(body_of(receive_until(two, "0\r\n\r\n")).find("second!") != std::string::npos);
  CHECK(gateway.rig.upstreams.idle_connections() == 0);
  server->answer(first, "first!");
  CHECK(contains(receive_until(one, "0\r\n\r\n"), "first!"));
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
  Client& three = gateway.get("/3");
  server->answer(server->request("/3"), "third!");
  CHECK(contains(receive_until(three, "0\r\n\r\n"), "third!"));
  CHECK_FALSE(gateway.backend.waiting());
}

TEST_CASE("streams: requests wait for a connection that is being made") {
  Gateway gateway;
  std::vector<Client*> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(&gateway.get("/" + std::to_string(i)));
  const auto server = gateway.accept();
  for (int i = 0; i < 50; ++i) {
    const std::string text = std::to_string(i);
    server->answer(server->request("/" + text), "[" + text + "]");
    CHECK(contains(receive_until(*clients[static_cast<size_t>(i)], "0\r\n\r\n"), "[" + text + "]"));
  }
  CHECK_FALSE(gateway.backend.waiting());
}

TEST_CASE("streams: the peer's limit is kept, and another connection takes the rest") {
  Gateway gateway;
  std::vector<Client*> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(&gateway.post("/" + std::to_string(i)));
  std::vector<std::unique_ptr<Server>> servers;
  size_t seen = 0;
  while (seen < 5) {
    servers.push_back(gateway.accept(2));
    Server& server = *servers.back();
    CHECK(server.until([&] {
      size_t whole = 0;
      for (const auto& [id, stream] : server.streams) whole += stream.ended;
      return whole == std::min<size_t>(2, 5 - seen);
    }));
    seen += server.streams.size();
    REQUIRE(servers.size() <= 3);
  }
  CHECK(seen == 5);
  for (auto& server : servers) {
    for (const auto& [id, stream] : server->streams) server->answer(id, "body of " + stream.target);
  }
  for (int i = 0; i < 5; ++i) {
    const std::string text = "body of /" + std::to_string(i);
    CHECK(contains(receive_until(*clients[static_cast<size_t>(i)], "0\r\n\r\n"), text));
  }
}

TEST_CASE("streams: what the peer did not process is sent again, whatever the method") {
  Gateway gateway;
  bool streamed = false;
  SECTION("kept body") {}
  SECTION("streamed body") {
    streamed = true;
  }
  gateway.values.request_buffering = !streamed;
  Client& client = gateway.post("/a");
  const auto first = gateway.accept();
  first->request("/a");
  SECTION("GOAWAY") {
    first->goaway(0);
    const auto second = gateway.accept();
    const StreamId again = second->request("/a");
    CHECK(second->streams[again].body == "abc");
    second->answer(again, "done!");
    CHECK(contains(receive_until(client, "0\r\n\r\n"), "done!"));
  }
  SECTION("REFUSED_STREAM") {
    first->reset(1, kRefused);
    first->streams.clear();
    const StreamId again = first->request("/a");
    CHECK(first->streams[again].body == "abc");
    first->answer(again, "done!");
    CHECK(contains(receive_until(client, "0\r\n\r\n"), "done!"));
  }
  SECTION("for ever: there is an end") {
    for (uint32_t number = 1; number <= 11; number += 2) {
      REQUIRE(first->until([&] { return !first->streams.empty(); }));
      first->streams.clear();
      first->reset(number, kRefused);
    }
    CHECK(status_of(receive_until(client, "\r\n\r\n")) == "502");
  }
}

TEST_CASE("streams: a kept connection that goes is no failure of its server") {
  Gateway gateway;
  gateway.group.servers[0].max_fails = 1;
  gateway.group.servers.push_back(gateway.group.servers[0]);
  gateway.group.servers[1].down = true;  // with one server nothing would be counted
  Client& one = gateway.get("/1");
  auto server = gateway.accept();
  server->answer(server->request("/1"), "first!");
  CHECK(contains(receive_until(one, "0\r\n\r\n"), "first!"));
  Client& two = gateway.get("/2");
  server->request("/2");
  SECTION("GOAWAY") {
    server->goaway(1);
  }
  SECTION("closed") {
    server->peer->close();
  }
  SECTION("reset") {
    server->peer->reset();
  }
  const auto next = gateway.accept();
  next->answer(next->request("/2"), "second!");
  CHECK(contains(receive_until(two, "0\r\n\r\n"), "second!"));
  Client& three = gateway.get("/3");
  next->answer(next->request("/3"), "third!");
  CHECK(contains(receive_until(three, "0\r\n\r\n"), "third!"));
}

TEST_CASE("streams: GOAWAY lets what is under way end, and new requests go elsewhere") {
  Gateway gateway;
  Client& one = gateway.get("/1");
  const auto first = gateway.accept();
  const StreamId stream = first->request("/1");
  first->goaway(1);
  gateway.rig.run();
  Client& two = gateway.get("/2");
  const auto second = gateway.accept();
  second->answer(second->request("/2"), "elsewhere");
  CHECK(contains(receive_until(two, "0\r\n\r\n"), "elsewhere"));
  first->answer(stream, "still here");
  CHECK(contains(receive_until(one, "0\r\n\r\n"), "still here"));
  CHECK(first->until([&] { return first->peer->ended; }));
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
}

TEST_CASE("streams: a connection that breaks fails each of its streams; the next request works") {
  Gateway gateway;
  gateway.values.buffering = false;
  gateway.values.next_upstream.bits = static_cast<uint32_t>(NextUpstream::off);
  std::vector<Client*> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(&gateway.post("/" + std::to_string(i)));
  auto server = gateway.accept();
  CHECK(server->until([&] { return server->streams.size() == 50; }));
  const StreamId begun = server->request("/7");
  server->head(begun, 200);
  server->data(begun, "part", false);
  receive_until(*clients[7], "part");
  SECTION("closed") {
    server->peer->close();
  }
  SECTION("reset") {
    server->peer->reset();
  }
  for (size_t i = 0; i < 50; ++i) {
    if (i == 7) {
      CHECK(run_until(gateway.rig.loop, [&] {
        clients[7]->receive();
        return clients[7]->ended;
      }));
    } else {
      CHECK(status_of(receive_until(*clients[i], "\r\n\r\n")) == "502");
    }
  }
  Client& next = gateway.get("/next");
  server = gateway.accept();
  server->answer(server->request("/next"), "fine!");
  CHECK(contains(receive_until(next, "0\r\n\r\n"), "fine!"));
}

TEST_CASE("streams: an early answer with NO_ERROR is an answer") {
  Gateway gateway;
  gateway.values.request_buffering = false;
  Client& client = gateway.ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
  client.send(std::string(1000, 'x'));
  const auto server = gateway.accept();
  const StreamId stream = server->request("/a", false);
  server->head(stream, 403);
  server->data(stream, "enough", true);
  server->reset(1, kNoError);
  const std::string text = receive_until(client, "0\r\n\r\n");
  CHECK(status_of(text) == "403");
  CHECK(contains(text, "enough"));
  Client& next = gateway.get("/next");
  server->answer(server->request("/next"), "fine!");
  CHECK(contains(receive_until(next, "0\r\n\r\n"), "fine!"));
}

TEST_CASE("streams: a client that leaves cancels its stream alone") {
  Gateway gateway;
  gateway.get("/1");
  Client& two = gateway.get("/2");
  const auto server = gateway.accept();
  const StreamId first = server->request("/1");
  const StreamId second = server->request("/2");
  gateway.clients[0]->close();
  CHECK(server->until([&] { return server->streams[first].reset; }));
  CHECK(server->streams[first].code == kCancel);
  server->answer(second, "second!");
  CHECK(contains(receive_until(two, "0\r\n\r\n"), "second!"));
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
}

TEST_CASE(
    "streams: a reset in the middle of an answer cuts it; before it, the next peer is tried") {
  Gateway gateway;
  gateway.values.buffering = false;
  Client& client = gateway.get("/a");
  const auto server = gateway.accept();
  const StreamId stream = server->request("/a");
  server->head(stream, 200);
  server->data(stream, "part", false);
  receive_until(client, "part");
  server->reset(1, 2);
  std::string rest;
  CHECK(run_until(gateway.rig.loop, [&] {
    rest += client.receive();
    return client.ended;
  }));
  CHECK_FALSE(contains(rest, "0\r\n\r\n"));
  CHECK(gateway.rig.upstreams.idle_connections() == 1);
}

TEST_CASE("streams: both directions at once, and trailers in both") {
  Gateway gateway;
  gateway.values.request_buffering = false;
  gateway.values.buffering = false;
  gateway.values.pass_trailers = true;
  trailers_up = true;
  Client& client = gateway.ask(
      "POST /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n");
  const auto server = gateway.accept();
  const StreamId stream = server->request("/a", false);
  server->head(stream, 200, false, "trailer", "x-end");
  for (int i = 0; i < 5; ++i) {
    const std::string text = "message" + std::to_string(i);
    client.send("8\r\n" + text + "\r\n");
    CHECK(server->until([&] { return contains(server->streams[stream].body, text); }));
    server->data(stream, "echo of " + text, false);
    receive_until(client, "echo of " + text);
  }
  client.send("0\r\nx-last: word\r\n\r\n");
  CHECK(server->until([&] { return server->streams[stream].ended; }));
  CHECK(server->streams[stream].trailer == "word");
  server->trailers(stream, "x-end", "bye");
  CHECK(contains(receive_until(client, "\r\n\r\n"), "x-end: bye"));
}

TEST_CASE("streams: a client that does not read holds its stream back, and no other") {
  Gateway gateway;
  gateway.values.buffering = false;
  Client& slow = gateway.get("/slow");
  Client& fast = gateway.get("/fast");
  const auto server = gateway.accept();
  const StreamId one = server->request("/slow");
  const StreamId two = server->request("/fast");
  server->head(one, 200);
  const std::string large(8 << 20, 'x');
  server->data(one, large, true);
  // As much as sockets and windows take.
  size_t before = 0;
  for (int calm = 0; calm < 50;) {
    server->pump();
    gateway.rig.run(2);
    const size_t left = server->unsent[one].bytes();
    calm = left == before ? calm + 1 : 0;
    before = left;
  }
  CHECK(before > 0);
  server->answer(two, "quick!");
  CHECK(contains(receive_until(fast, "0\r\n\r\n"), "quick!"));
  size_t received = 0;
  CHECK(server->until([&] {
    received += slow.receive().size();
    return received >= large.size() && server->unsent[one].empty();
  }));
}

TEST_CASE("streams: a peer that does not read holds a request back, and no other") {
  Gateway gateway;
  Client& slow = gateway.ask("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  slow.send(std::string(1000000, 'y'));
  const auto server = gateway.accept();
  server->give_credit = false;
  const StreamId one = server->request("/slow", false);
  CHECK(server->until([&] { return server->streams[one].body.size() >= 65535; }));
  const size_t held = server->streams[one].body.size();
  CHECK(held < 1000000);
  server->give_credit = true;
  Client& fast = gateway.get("/fast");
  server->codec->consumed(one, held);
  const StreamId two = server->request("/fast");
  server->answer(two, "quick!");
  CHECK(contains(receive_until(fast, "0\r\n\r\n"), "quick!"));
  CHECK(server->until([&] { return server->streams[one].ended; }));
  CHECK(server->streams[one].body == std::string(1000000, 'y'));
  server->answer(one, "slow!");
  CHECK(contains(receive_until(slow, "0\r\n\r\n"), "slow!"));
}

TEST_CASE("streams: limits of a kept connection") {
  Gateway gateway;
  SECTION("requests") {
    gateway.group.keepalive.requests = 2;
    Client& one = gateway.get("/1");
    Client& two = gateway.get("/2");
    Client& three = gateway.get("/3");
    const auto server = gateway.accept();
    const StreamId first = server->request("/1");
    const StreamId second = server->request("/2");
    const auto other = gateway.accept();
    other->answer(other->request("/3"), "third!");
    receive_until(three, "third!");
    server->answer(first, "first!");
    server->answer(second, "second!");
    receive_until(one, "first!");
    receive_until(two, "second!");
    CHECK(server->until([&] { return server->peer->ended; }));
  }
  SECTION("none are kept: each request has its own") {
    gateway.group.keepalive.enabled = false;
    Client& one = gateway.get("/1");
    Client& two = gateway.get("/2");
    const auto server = gateway.accept();
    const auto other = gateway.accept();
    CHECK(server->until([&] { return !server->streams.empty(); }));
    CHECK(other->until([&] { return !other->streams.empty(); }));
    server->answer(server->streams.begin()->first, "one!");
    other->answer(other->streams.begin()->first, "one!");
    receive_until(one, "one!");
    receive_until(two, "one!");
    CHECK(server->until([&] { return server->peer->ended; }));
  }
}
