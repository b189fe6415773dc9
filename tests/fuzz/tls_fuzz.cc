// The TLS front of a server: several names, ALPN, client certificates, tickets, early data. The
// first byte of the input has flags; the rest is either what a client sends, as it is, or how a
// real client's bytes are damaged on their way:
//
//   offset (2 bytes, low one first), what is done there (1 byte), how (1 byte), the client's text
//
// Checked: that a server is done with whatever came once its client has gone and that it can say
// why a handshake failed; that undamaged bytes do arrive; and that damaged ones never give a server
// what its client has not sent. (Keys and nonces differ from run to run: of an input's damage it is
// the place that can be repeated, not the bytes around it.)
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

#include "confparse/worlds.h"
#include "engine/event/foldable.h"
#include "engine/event/loop.h"
#include "engine/net/stream.h"
#include "engine/tls/context.h"
#include "engine/tls/inspect.h"
#include "engine/tls/layer.h"
#include "engine/zone/zone.h"
#include "tests/engine/tls/certificates.h"

using namespace weir;

namespace {

void require(bool condition, std::source_location at = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "line %u\n", at.line());
  std::abort();
}

enum Flags : uint8_t {
  kReal = 1,  // a real client's bytes, damaged
  // Either way.
  kEarly = 2,   // the server takes early data
  kPieces = 4,  // the bytes come in small pieces
  kFold = 8,    // connections are folded whenever they may be
  // Of a real client.
  kResume = 16,       // it comes a second time, with the session of an undamaged first
  kOldVersion = 32,   // TLS 1.2
  kCertificate = 64,  // it has a certificate
  kHttp1 = 128,       // which it speaks instead of HTTP/2
};

constexpr std::string_view kProtocols = "\x02h2\x08http/1.1";
constexpr std::string_view kAnswer = "answer";
constexpr const char* kNames[] = {"localhost", "two.test", "", "rejected.test"};

// One end of a connection: shakes hands, says its text, reads what comes, and closes when it fails
// or is told the end.
struct End final : SocketHandler {
  void on_readable() override { go(); }
  void on_writable() override { go(); }
  void go() {
    if (!stream.is_open()) return;
    if (!done && !shake_hands()) return;
    if (!chain.empty() && stream.write(chain).state == net::WriteResult::State::failed) {
      stream.close();
      return;
    }
    read();
  }
  bool shake_hands() {
    const auto state = layer->handshake(stream.socket());
    if (state == tls::HandshakeState::done) {
      inspect();
      return done = true;
    }
    char letter;
    if (state == tls::HandshakeState::would_block) {
      require(stream.read(&letter, 1).state == Transfer::State::would_block);
      return false;
    }
    require(layer->failure() != nullptr && !layer->failure()->text.empty());
    require(stream.read(&letter, 1).state == Transfer::State::failed);
    require(stream.write(chain).state == net::WriteResult::State::failed || chain.empty());
    stream.close();
    return false;
  }
  // What variables and logs ask for.
  void inspect() {
    protocol = layer->alpn();
    (void)tls::protocol_of(*layer);
    (void)tls::server_name_of(*layer);
    (void)tls::session_id_of(*layer);
    resumed = tls::session_reused(*layer);
    verification = tls::client_verification_of(*layer);
    (void)tls::client_subject_of(*layer);
  }
  void read() {
    char buffer[500];
    for (;;) {
      const Transfer moved = stream.read(buffer, sizeof buffer);
      if (moved.state == Transfer::State::would_block) return;
      if (moved.state != Transfer::State::done) break;
      received.append(buffer, moved.bytes);
    }
    stream.shutdown();
    stream.close();
  }

  net::Stream stream;
  tls::Layer* layer = nullptr;
  Chain chain;
  std::string received;
  std::string protocol;
  std::string verification;
  bool done = false;
  bool resumed = false;
};

// Whatever is made once.
struct Front final : tls::ServerUser {
  Front() {
    const tls_test::Pair authority = tls_test::make_pair({"test CA", nullptr, true, 1, 30});
    world.add_file("/ca.pem", authority.certificate);
    long serial = 2;
    for (const char* name : {"localhost", "two.test", "client"}) {
      const auto pair = tls_test::make_pair({name, &authority, false, serial++, 30});
      world.add_file(std::string("/") + name + ".pem", pair.certificate);
      world.add_file(std::string("/") + name + ".key", pair.key);
    }
    zone::ZoneRequest request;
    request.name = "sessions";
    request.size = 1 << 20;
    sessions = std::make_shared<zone::Zone>(request);
    require(sessions->attach_private());
    tls::ServerOptions options = server_options("localhost");
    first = make(options);
    options.early_data = true;
    early = make(options);
    options = server_options("two.test");
    options.protocols = static_cast<uint32_t>(tls::Protocol::tlsv1_2);
    second = make(options);
    options = {};
    options.id_context = "FUZZ";
    options.reject_handshake = true;
    rejecting = make(options);
  }
  tls::ServerOptions server_options(const std::string& name) {
    tls::ServerOptions options;
    options.id_context = "FUZZ";
    options.credentials = {{"/" + name + ".pem", "/" + name + ".key"}};
    options.verify = tls::ClientVerification::optional;
    options.client_certificate = "/ca.pem";
    options.session_cache.kind = tls::SessionCacheOptions::Kind::shared;
    options.session_cache.zone = "sessions";
    options.session_cache.zone_size = 1 << 20;
    options.session_cache.memory = sessions;
    return options;
  }
  std::shared_ptr<const tls::ServerContext> make(const tls::ServerOptions& options) {
    tls::Problems problems;
    auto made = tls::ServerContext::make(world, options, problems);
    for (const auto& problem : problems) std::fprintf(stderr, "%s\n", problem.text.c_str());
    require(made != nullptr);
    return made;
  }
  std::shared_ptr<const tls::ClientContext> client(uint8_t flags) {
    auto& known = clients[(flags & (kOldVersion | kCertificate)) >> 5];
    if (known) return known;
    tls::ClientOptions options;
    if ((flags & kOldVersion) != 0) {
      options.protocols = static_cast<uint32_t>(tls::Protocol::tlsv1_2);
    }
    if ((flags & kCertificate) != 0) options.credentials = {{"/client.pem", "/client.key"}};
    tls::Problems problems;
    known = tls::ClientContext::make(world, options, problems);
    require(known != nullptr);
    return known;
  }
  std::shared_ptr<const tls::ServerContext> choose(std::string_view server_name) override {
    require(server_name.size() < 256);
    if (server_name == "two.test") return second;
    if (server_name == "rejected.test") return rejecting;
    return nullptr;
  }
  std::string_view alpn_protocols() override { return kProtocols; }

  Loop loop;
  conf::VirtualWorld world;
  std::shared_ptr<zone::Zone> sessions;
  std::shared_ptr<const tls::ServerContext> first, early, second, rejecting;
  std::shared_ptr<const tls::ClientContext> clients[4];
  unsigned visits = 0;
};

// What is done to the bytes of a client.
struct Damage {
  enum class Kind : uint8_t { flip, insert, remove, cut, repeat };
  size_t offset = 0;
  Kind kind = Kind::flip;
  uint8_t how = 0;  // flip: 0 is no damage

  bool none() const { return kind == Kind::flip && how == 0; }
  // `from`: how many bytes went before. True: nothing may follow.
  bool apply(std::string& bytes, size_t from) const {
    if (none() || offset < from || offset - from >= bytes.size()) return false;
    const size_t at = offset - from;
    const size_t count = how & 31U;
    if (kind == Kind::flip) bytes[at] = static_cast<char>(bytes[at] ^ how);
    if (kind == Kind::insert) bytes.insert(at, 1 + count, static_cast<char>(how));
    if (kind == Kind::remove) bytes.erase(at, 1 + count);
    if (kind == Kind::repeat) bytes.insert(at, bytes.substr(at, 1 + count * 8));
    if (kind == Kind::cut) bytes.resize(at);
    return kind == Kind::cut;
  }
};

// One connection to the server; the other side of its socket is the harness's.
struct Visit {
  Visit(Front& at, uint8_t with) : front(at), flags(with) {
    outside = open(server);
    auto layer = std::make_unique<tls::ServerLayer>(
        (flags & kEarly) != 0 ? front.early : front.first, front);
    server.layer = layer.get();
    server.stream.set_layer(std::move(layer), &server);
    server.chain.push(Slice::copy_of(kAnswer));
  }
  ~Visit() {
    for (const int descriptor : {outside, beyond}) {
      if (descriptor >= 0) ::close(descriptor);
    }
  }
  int open(End& end) const {
    int pair[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    require(end.stream.open(front.loop, pair[0], &end));
    return pair[1];
  }
  void connect(const tls::ClientParameters& parameters, std::string_view text) {
    beyond = open(client);
    auto layer = std::make_unique<tls::ClientLayer>(front.client(flags), parameters);
    client.layer = layer.get();
    client.stream.set_layer(std::move(layer), &client);
    if (!text.empty()) client.chain.push(Slice::copy_of(text));
    client.go();
  }
  void turn() {
    front.loop.run_once(0);
    if ((flags & kFold) != 0) FoldWatch::of_thread()->fold_all();
  }
  void send(std::string_view bytes) {
    const size_t piece = (flags & kPieces) != 0 ? bytes.size() / 7 + 1 : bytes.size();
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const std::string_view some = bytes.substr(at, piece);
      (void)!::send(outside, some.data(), some.size(), MSG_NOSIGNAL);
      if (piece < bytes.size()) turn();
    }
  }
  static std::string take(int descriptor) {
    std::string bytes;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(descriptor, buffer, sizeof buffer, 0)) > 0;) {
      bytes.append(buffer, static_cast<size_t>(got));
    }
    return bytes;
  }
  // Until nothing moves any more.
  void relay(const Damage& damage) {
    size_t from = 0;
    for (int quiet = 0; quiet < 4; ++quiet) {
      turn();
      std::string bytes = take(beyond);
      const size_t size = bytes.size();
      const std::string answer = take(outside);
      if (size > 0 || !answer.empty()) quiet = 0;
      const bool last = damage.apply(bytes, from);
      from += size;
      send(bytes);
      (void)!::send(beyond, answer.data(), answer.size(), MSG_NOSIGNAL);
      if (last) return;
    }
  }
  // The client goes: the server has to as well.
  void leave() {
    if ((flags & kPieces) != 0) {
      ::shutdown(outside, SHUT_WR);
    } else {
      ::close(outside);
      outside = -1;
    }
    for (int i = 0; i < 10 && server.stream.is_open(); ++i) turn();
    require(!server.stream.is_open());
    client.stream.close();
  }

  Front& front;
  uint8_t flags;
  End server;
  End client;
  int outside = -1;
  int beyond = -1;  // the harness's end of the client's
};

void raw(Front& front, uint8_t flags, std::string_view bytes) {
  Visit visit(front, flags);
  visit.send(bytes);
  size_t answered = 0;
  for (int i = 0; i < 4; ++i) {
    visit.turn();
    answered += Visit::take(visit.outside).size();
  }
  // Nobody gets much for a few bytes.
  require(answered < 16 * 1024);
  visit.leave();
  require(!visit.server.done && visit.server.received.empty());
}

void real(Front& front, uint8_t flags, const tls::ClientParameters& parameters,
          const Damage& damage, std::string_view text, bool again) {
  Visit visit(front, flags);
  visit.connect(parameters, text);
  visit.relay(damage);
  const bool accepted = parameters.server_name != "rejected.test";
  if (damage.none()) require(visit.server.done == accepted && visit.client.done == accepted);
  visit.leave();
  const End& server = visit.server;
  if (damage.none() && accepted) {
    require(server.received == text && visit.client.received == kAnswer);
    require(server.protocol == ((flags & kHttp1) != 0 ? "http/1.1" : "h2"));
    require(server.resumed == again);
  }
  if (server.done) {
    require(server.verification == ((flags & kCertificate) != 0 ? "SUCCESS" : "NONE"));
  }
  require(accepted || !server.done);
  require(text.substr(0, server.received.size()) == server.received);
  require(kAnswer.substr(0, visit.client.received.size()) == visit.client.received);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 20000) return 0;
  static auto* front = new Front;
  const uint8_t flags = data[0];
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if ((flags & kReal) == 0) {
    raw(*front, flags, input.substr(1));
    return 0;
  }
  if (size < 5) return 0;
  Damage damage;
  damage.offset = data[1] | static_cast<size_t>(data[2]) << 8;
  damage.kind = static_cast<Damage::Kind>(data[3] % 5);
  damage.how = data[4];
  tls::ClientParameters parameters;
  parameters.server_name = kNames[data[3] >> 6];
  parameters.alpn = (flags & kHttp1) != 0 ? kProtocols.substr(3) : kProtocols;
  const std::string_view text = input.substr(5);
  bool again = false;
  if ((flags & kResume) != 0) {
    parameters.peer = "fuzz " + std::to_string(++front->visits);
    real(*front, flags, parameters, Damage(), text, false);
    again = parameters.server_name != "rejected.test";
  }
  real(*front, flags, parameters, damage, text, again);
  return 0;
}
