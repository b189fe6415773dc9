#include "engine/tls/layer.h"

#include "engine/tls/inspect.h"
#include "engine/zone/zone.h"
#include "tests/engine/tls/rig.h"

using namespace tls_test;
using tls::ClientOptions;
using tls::ClientParameters;
using tls::ServerOptions;

namespace {

ClientParameters named(const std::string& name) {
  ClientParameters parameters;
  parameters.server_name = name;
  parameters.verify_name = name;
  return parameters;
}

std::string noise(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i * 7919) + ",";
  text.resize(size);
  return text;
}

}  // namespace

TEST_CASE("two ends shake hands and talk", "[tls]") {
  Files& files = Files::get();
  Rig rig;
  rig.serve(files.make(files.server_options()));
  auto& client = rig.connect(files.make(ClientOptions()), named("localhost"));
  REQUIRE(rig.shake_hands());
  CHECK(rig.chooser.asked == "localhost");
  CHECK(tls::protocol_of(client) == "TLSv1.3");
  CHECK(tls::server_name_of(*rig.server.layer) == "localhost");
  rig.client.send("ask");
  REQUIRE(rig.run_until([&] { return rig.server.received == "ask"; }));
  rig.server.send("answer");
  REQUIRE(rig.run_until([&] { return rig.client.received == "answer"; }));
}

TEST_CASE("an idle connection is folded, and none the worse", "[tls]") {
  Files& files = Files::get();
  const long version = GENERATE(0x0303, 0x0304);
  ServerOptions options = files.server_options();
  options.commands = {{"MaxProtocol", version == 0x0303 ? "TLSv1.2" : "TLSv1.3"}};
  Rig rig;
  rig.serve(files.make(options));
  auto& client = rig.connect(files.make(ClientOptions()), named("localhost"));
  REQUIRE(rig.shake_hands());
  const std::string session = tls::session_id_of(*rig.server.layer);
  for (int i = 0; i < 3; ++i) {
    FoldWatch::of_thread()->fold_all();
    CHECK(FoldWatch::of_thread()->fold_all() == 0);  // both are
    rig.client.received.clear();
    rig.server.received.clear();
    rig.client.send("ask");
    rig.server.send("answer");
    REQUIRE(rig.run_until([&] { return rig.server.received == "ask"; }));
    REQUIRE(rig.run_until([&] { return rig.client.received == "answer"; }));
    CHECK(tls::protocol_of(client) == (version == 0x0303 ? "TLSv1.2" : "TLSv1.3"));
    CHECK(tls::session_id_of(*rig.server.layer) == session);
    CHECK(FoldWatch::of_thread()->fold_all() == 2);
  }
}

TEST_CASE("large messages pass through small socket buffers, both ways", "[tls]") {
  Files& files = Files::get();
  ServerOptions options = files.server_options();
  ClientOptions client;
  // With kernel TLS asked for, OpenSSL works on the descriptor itself, also where the kernel has
  // none.
  if (GENERATE(false, true)) options.commands = client.commands = {{"Options", "KTLS"}};
  Rig rig(4096);
  rig.serve(files.make(options));
  rig.connect(files.make(client), named("localhost"));
  REQUIRE(rig.shake_hands());
  CHECK_FALSE(rig.server.stream.can_send_file());  // no kernel does TLS on a pair of unix sockets
  const std::string text = noise(1'000'000);
  rig.client.send(text);
  rig.server.send(text);
  REQUIRE(rig.run_until([&] {
    for (End* end : {&rig.client, &rig.server}) {
      if (!end->chain.empty()) end->flush();
    }
    return rig.server.received.size() == text.size() && rig.client.received.size() == text.size();
  }));
  CHECK(rig.server.received == text);
  CHECK(rig.client.received == text);
}

TEST_CASE("a limit on a write that was blocked is kept to the byte it may be", "[tls]") {
  Files& files = Files::get();
  ServerOptions options = files.server_options();
  if (GENERATE(false, true)) options.commands = {{"Options", "KTLS"}};
  Rig rig(4096);
  rig.serve(files.make(options));
  rig.connect(files.make(ClientOptions()), named("localhost"));
  REQUIRE(rig.shake_hands());
  rig.client.reading = false;
  const std::string text = noise(200'000);
  rig.server.chain.push(Slice::copy_of(text));
  net::WriteResult result = rig.server.stream.write(rig.server.chain);
  REQUIRE(result.state == net::WriteResult::State::would_block);
  rig.client.reading = true;
  REQUIRE(rig.run_until([&] {
    rig.client.go();
    net::WriteLimits limits;
    limits.bytes = 100;  // less than what was sealed already
    if (!rig.server.chain.empty()) rig.server.stream.write(rig.server.chain, limits);
    return rig.client.received.size() == text.size();
  }));
  CHECK(rig.client.received == text);
}

TEST_CASE("the end of a connection is told, and told apart from a cut", "[tls]") {
  Files& files = Files::get();
  Rig rig;
  rig.serve(files.make(files.server_options()));
  rig.connect(files.make(ClientOptions()), named("localhost"));
  REQUIRE(rig.shake_hands());
  rig.client.send("last words");
  CHECK(rig.client.stream.shutdown().state == Transfer::State::done);
  REQUIRE(rig.run_until([&] { return rig.server.last.state == Transfer::State::end; }));
  CHECK(rig.server.received == "last words");
  CHECK(rig.server.layer->closed_cleanly());
}

TEST_CASE("bytes that OpenSSL holds count as readable", "[tls]") {
  Files& files = Files::get();
  Rig rig;
  rig.serve(files.make(files.server_options()));
  rig.connect(files.make(ClientOptions()), named("localhost"));
  REQUIRE(rig.shake_hands());
  rig.server.reading = false;
  rig.client.send("abcdef");
  char letter = 0;
  REQUIRE(rig.run_until(
      [&] { return rig.server.stream.read(&letter, 1).state == Transfer::State::done; }));
  CHECK(letter == 'a');
  CHECK(rig.server.stream.maybe_readable());
  CHECK(rig.server.layer->pending() > 0);
  REQUIRE(rig.server.stream.peek(&letter, 1).state == Transfer::State::done);
  CHECK(letter == 'b');
  rig.server.reading = true;
  rig.server.stream.read_later();
  REQUIRE(rig.run_until([&] { return rig.server.received == "bcdef"; }));
  CHECK_FALSE(rig.server.layer->pending() > 0);
}

TEST_CASE("a server is chosen by the name in the hello", "[tls]") {
  Files& files = Files::get();
  ServerOptions second = files.server_options();
  second.credentials = {{"/two.pem", "/two.key"}};
  second.protocols = static_cast<uint32_t>(tls::Protocol::tlsv1_2);
  ClientOptions options;
  options.verify = true;
  options.trusted_certificate = "/ca.pem";
  Rig rig;
  rig.chooser.chosen = files.make(second);
  rig.serve(files.make(files.server_options()));
  auto& client = rig.connect(files.make(options), named("two.test"));
  REQUIRE(rig.shake_hands());
  CHECK(tls::protocol_of(client) == "TLSv1.2");  // protocols are the chosen server's
}

TEST_CASE("a server may reject a name", "[tls]") {
  Files& files = Files::get();
  ServerOptions rejects;
  rejects.id_context = "TEST";
  rejects.reject_handshake = true;
  Rig rig;
  rig.chooser.chosen = files.make(rejects);
  REQUIRE(rig.chooser.chosen);
  rig.serve(files.make(files.server_options()));
  rig.connect(files.make(ClientOptions()), named("no.test"));
  CHECK_FALSE(rig.shake_hands());
  CHECK(rig.client.failure.find("unrecognized name") != std::string::npos);
  CHECK(rig.server.failure == "handshake rejected");
}

TEST_CASE("ALPN takes the server's first choice, and refuses what has nothing in common", "[tls]") {
  Files& files = Files::get();
  Rig rig;
  rig.chooser.alpn = "\x02h2\x08http/1.1";
  rig.serve(files.make(files.server_options()));
  ClientParameters parameters = named("localhost");
  SECTION("in common") {
    parameters.alpn = "\x08http/1.1\x02h2";
    auto& client = rig.connect(files.make(ClientOptions()), parameters);
    REQUIRE(rig.shake_hands());
    CHECK(client.alpn() == "h2");
    CHECK(rig.server.layer->alpn() == "h2");
  }
  SECTION("nothing in common") {
    parameters.alpn =
        "\x03"
        "foo";
    rig.connect(files.make(ClientOptions()), parameters);
    CHECK_FALSE(rig.shake_hands());
    CHECK(rig.client.failure.find("no application protocol") != std::string::npos);
  }
  SECTION("not asked for") {
    auto& client = rig.connect(files.make(ClientOptions()), parameters);
    REQUIRE(rig.shake_hands());
    CHECK(client.alpn().empty());
  }
}

TEST_CASE("an upstream's certificate is verified against its name", "[tls]") {
  Files& files = Files::get();
  ClientOptions options;
  options.verify = true;
  Rig rig;
  rig.serve(files.make(files.server_options()));
  SECTION("good") {
    options.trusted_certificate = "/ca.pem";
    rig.connect(files.make(options), named("localhost"));
    CHECK(rig.shake_hands());
  }
  SECTION("another name") {
    options.trusted_certificate = "/ca.pem";
    rig.connect(files.make(options), named("other.test"));
    CHECK_FALSE(rig.shake_hands());
    CHECK(rig.client.failure == "upstream SSL certificate does not match \"other.test\"");
  }
  SECTION("another CA") {
    options.trusted_certificate = "/stranger.pem";
    rig.connect(files.make(options), named("localhost"));
    CHECK_FALSE(rig.shake_hands());
    CHECK(rig.client.failure.find("upstream SSL certificate verify error: (21:") == 0);
  }
}

TEST_CASE("client certificates are looked at, and judged later", "[tls]") {
  Files& files = Files::get();
  ServerOptions options = files.server_options();
  options.verify = tls::ClientVerification::on;
  options.client_certificate = "/ca.pem";
  Rig rig;
  rig.serve(files.make(options));
  ClientOptions client;
  std::string expected;
  std::string subject;
  SECTION("none") {
    expected = "NONE";
  }
  SECTION("good") {
    client.credentials = {{"/client.pem", "/client.key"}};
    expected = "SUCCESS";
    subject = "CN=client";
  }
  SECTION("of a stranger") {
    client.credentials = {{"/stranger.pem", "/stranger.key"}};
    expected = "FAILED:";
    subject = "CN=stranger";
  }
  rig.connect(files.make(client), named("localhost"));
  REQUIRE(rig.shake_hands());
  rig.client.send("x");
  REQUIRE(rig.run_until([&] { return rig.server.received == "x"; }));
  CHECK(tls::client_verification_of(*rig.server.layer).substr(0, expected.size()) == expected);
  CHECK(tls::client_subject_of(*rig.server.layer) == subject);
}

TEST_CASE("what is no TLS fails the handshake of either role", "[tls]") {
  Files& files = Files::get();
  Rig rig;
  SECTION("to a server") {
    rig.serve(files.make(files.server_options()));
    rig.client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(rig.run_until([&] { return rig.server.failed; }));
    CHECK(rig.server.failure.find("SSL_do_handshake() failed (SSL: error:") == 0);
    CHECK(rig.server.layer->failure()->severity == Severity::info);
  }
  SECTION("to a client") {
    rig.server.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    rig.connect(files.make(ClientOptions()), named("localhost"));
    rig.client.go();
    REQUIRE(rig.run_until([&] { return rig.client.failed; }));
    CHECK(rig.client.layer->failure()->severity == Severity::error);
  }
  SECTION("a peer that leaves") {
    rig.serve(files.make(files.server_options()));
    rig.client.stream.close();
    REQUIRE(rig.run_until([&] { return rig.server.failed; }));
    CHECK(rig.server.failure == "peer closed connection in SSL handshake");
  }
}

TEST_CASE("sessions are resumed, and not across different verification", "[tls]") {
  Files& files = Files::get();
  const uint32_t version = GENERATE(static_cast<uint32_t>(tls::Protocol::tlsv1_2),
                                    static_cast<uint32_t>(tls::Protocol::tlsv1_3));
  const bool tickets = GENERATE(true, false);
  ServerOptions options = files.server_options();
  options.protocols = version;
  options.tickets = tickets;
  options.session_cache.kind = tls::SessionCacheOptions::Kind::shared;
  options.session_cache.zone = "sessions" + std::to_string(version) + std::to_string(tickets);
  options.session_cache.zone_size = 1 << 20;
  zone::ZoneRequest request;
  request.name = "sessions";
  request.size = 1 << 20;
  options.session_cache.memory = std::make_shared<zone::Zone>(request);
  REQUIRE(options.session_cache.memory->attach_private());
  ServerOptions stricter = options;
  stricter.verify = tls::ClientVerification::optional;
  stricter.client_certificate = "/ca.pem";
  const auto lax = files.make(options);
  const auto strict = files.make(stricter);
  const auto client = files.make(ClientOptions());
  ClientParameters parameters = named("localhost");
  parameters.peer = "test " + std::to_string(version) + std::to_string(tickets);
  const auto visit = [&](const std::shared_ptr<const tls::ServerContext>& first,
                         const std::shared_ptr<const tls::ServerContext>& chosen) {
    Rig rig;
    rig.chooser.chosen = chosen;
    rig.serve(first);
    rig.connect(client, parameters);
    REQUIRE(rig.shake_hands());
    rig.server.send("x");
    REQUIRE(rig.run_until([&] { return rig.client.received == "x"; }));
    const bool reused = tls::session_reused(*rig.server.layer);
    rig.client.stream.close();
    return reused;
  };
  CHECK_FALSE(visit(lax, nullptr));
  CHECK(visit(lax, nullptr));
  CHECK_FALSE(visit(lax, strict));
  CHECK(visit(lax, strict));
}

TEST_CASE("credentials may come while the client waits", "[tls]") {
  Files& files = Files::get();
  ServerOptions options = files.server_options();
  options.credentials.clear();
  options.late_credentials = true;
  Rig rig;
  rig.serve(files.make(options));
  rig.connect(files.make(ClientOptions()), named("localhost"));
  SECTION("found") {
    rig.chooser.credential = {"data:" + files.server.certificate, "data:" + files.server.key};
    CHECK(rig.shake_hands());
  }
  SECTION("not found") {
    rig.chooser.credential = {"/nowhere/c.pem", "/nowhere/c.key"};
    CHECK_FALSE(rig.shake_hands());
    CHECK(rig.server.failure.find("cannot load certificate \"/nowhere/c.pem\": BIO_new_file() "
                                  "failed (SSL: error:80000002:system library::No such file") == 0);
  }
}
