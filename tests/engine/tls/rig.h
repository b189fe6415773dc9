#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "confparse/worlds.h"
#include "engine/event/foldable.h"
#include "engine/event/loop.h"
#include "engine/tls/layer.h"
#include "tests/engine/tls/certificates.h"

// Two ends of a socket pair with TLS on them, in one loop.
namespace tls_test {

using namespace weir;

// One end: shakes hands, then reads whatever comes.
struct End final : SocketHandler {
  void on_readable() override { go(); }
  void on_writable() override { go(); }
  void go() {
    if (layer && !done && !failed) {
      const auto state = layer->handshake(stream.socket());
      done = state == tls::HandshakeState::done;
      failed = state == tls::HandshakeState::failed;
      if (failed && layer->failure()) failure = layer->failure()->text;
    }
    if (done || !layer) read();
  }
  void read() {
    char buffer[3000];
    while (reading) {
      last = stream.read(buffer, sizeof buffer);
      if (last.state != Transfer::State::done) return;
      received.append(buffer, last.bytes);
    }
  }
  void send(const std::string& text) {
    chain.push(Slice::copy_of(text));
    flush();
  }
  void flush() { result = stream.write(chain); }

  net::Stream stream;
  tls::Layer* layer = nullptr;
  Chain chain;
  net::WriteResult result;
  Transfer last;
  std::string received;
  std::string failure;
  bool done = false;
  bool failed = false;
  bool reading = true;
};

// What servers choose in these tests.
struct Chooser final : tls::ServerUser {
  std::shared_ptr<const tls::ServerContext> choose(std::string_view server_name) override {
    asked = server_name;
    return chosen;
  }
  std::string_view alpn_protocols() override { return alpn; }
  bool load_credentials() override { return layer && layer->load(credential, {}); }
  std::string asked;
  std::shared_ptr<const tls::ServerContext> chosen;
  std::string alpn;
  tls::ServerLayer* layer = nullptr;
  tls::Credential credential;
};

struct Rig {
  explicit Rig(int buffer = 0) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    for (const int end : ends) {
      if (buffer > 0) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    }
    REQUIRE(server.stream.open(loop, ends[0], &server));
    REQUIRE(client.stream.open(loop, ends[1], &client));
  }
  tls::ServerLayer& serve(std::shared_ptr<const tls::ServerContext> context) {
    auto layer = std::make_unique<tls::ServerLayer>(std::move(context), chooser);
    auto& made = *layer;
    chooser.layer = &made;
    server.layer = &made;
    server.stream.set_layer(std::move(layer), &server);
    return made;
  }
  tls::ClientLayer& connect(std::shared_ptr<const tls::ClientContext> context,
                            const tls::ClientParameters& parameters) {
    auto layer = std::make_unique<tls::ClientLayer>(std::move(context), parameters);
    auto& made = *layer;
    client.layer = &made;
    client.stream.set_layer(std::move(layer), &client);
    return made;
  }
  template <class Condition>
  bool run_until(Condition condition) {
    for (int round = 0; round < 2000; ++round) {
      if (condition()) return true;
      FoldWatch::of_thread()->fold_all();  // it must not matter
      loop.run_once(20);
    }
    return condition();
  }
  bool shake_hands() {
    client.go();
    return run_until([this] {
             return (client.done || client.failed) && (server.done || server.failed);
           }) &&
           client.done && server.done;
  }

  Loop loop;
  Chooser chooser;
  End server;
  End client;
};

// Files by name, and contexts made of them.
struct Files {
  Files() {
    authority = make_pair({"test CA", nullptr, true, 1, 30});
    server = make_pair({"localhost", &authority, false, 2, 30});
    two = make_pair({"two.test", &authority, false, 3, 30});
    client = make_pair({"client", &authority, false, 4, 30});
    stranger = make_pair({"stranger", nullptr, false, 5, 30});
    world.add_file("/ca.pem", authority.certificate);
    world.add_file("/server.pem", server.certificate);
    world.add_file("/server.key", server.key);
    world.add_file("/two.pem", two.certificate);
    world.add_file("/two.key", two.key);
    world.add_file("/client.pem", client.certificate);
    world.add_file("/client.key", client.key);
    world.add_file("/stranger.pem", stranger.certificate);
    world.add_file("/stranger.key", stranger.key);
  }
  static Files& get() {
    static Files files;
    return files;
  }
  tls::ServerOptions server_options() const {
    tls::ServerOptions options;
    options.id_context = "TEST";
    options.credentials = {{"/server.pem", "/server.key"}};
    return options;
  }
  std::shared_ptr<const tls::ServerContext> make(const tls::ServerOptions& options) {
    problems.clear();
    return tls::ServerContext::make(world, options, problems);
  }
  std::shared_ptr<const tls::ClientContext> make(const tls::ClientOptions& options) {
    problems.clear();
    return tls::ClientContext::make(world, options, problems);
  }
  std::string problem() const { return problems.empty() ? "" : problems[0].text; }

  conf::VirtualWorld world;
  tls::Problems problems;
  Pair authority, server, two, client, stranger;
};

}  // namespace tls_test
