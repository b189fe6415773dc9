#include "engine/net/listener.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "engine/event/loop.h"
#include "engine/net/connector.h"
#include "engine/net/socket_options.h"

using weir::Loop;
using weir::Socket;
using weir::SocketHandler;
using weir::net::Acceptor;
using weir::net::Address;
using weir::net::apply_changes;
using weir::net::ConnectOptions;
using weir::net::ConnectResult;
using weir::net::KeepaliveOption;
using weir::net::ListenOptions;
using weir::net::open_listener;
using weir::net::start_connect;

namespace {

int option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  ::getsockopt(descriptor, level, name, &value, &size);
  return value;
}

ListenOptions on(const std::string& address) {
  ListenOptions options;
  options.address = *Address::parse(address);
  return options;
}

// A folder for socket files, gone with the program.
const std::string& socket_folder() {
  struct Folder {
    Folder() { path = ::mkdtemp(path.data()); }
    ~Folder() { ::rmdir(path.c_str()); }
    std::string path = "/tmp/weir_net_test_XXXXXX";
  };
  static Folder folder;
  return folder.path;
}

struct Client final : SocketHandler {
  void on_readable() override { ++readable; }
  void on_writable() override {
    ++writable;
    error = socket.connect_error();
  }
  Socket socket;
  int readable = 0;
  int writable = 0;
  int error = -1;
};

struct Server {
  Server() : acceptor(&Server::accepted, &Server::failed, this) {}
  ~Server() {
    for (int descriptor : descriptors) ::close(descriptor);
    if (listener >= 0) ::close(listener);
  }
  void open(Loop& loop, const ListenOptions& options, Acceptor::Options how) {
    auto opened = open_listener(options);
    INFO(opened.failure.what << " " << opened.failure.error);
    REQUIRE(opened.descriptor >= 0);
    CHECK(opened.ignored.empty());
    listener = opened.descriptor;
    address = Address::local_of(listener);
    REQUIRE(acceptor.open(loop, listener, how) == 0);
  }
  static void accepted(void* self, int descriptor, const Address& peer) {
    auto* server = static_cast<Server*>(self);
    server->descriptors.push_back(descriptor);
    server->peers.push_back(peer);
  }
  static void failed(void* self, int error) { static_cast<Server*>(self)->errors.push_back(error); }
  Acceptor acceptor;
  int listener = -1;
  Address address;
  std::vector<int> descriptors;
  std::vector<Address> peers;
  std::vector<int> errors;
};

std::vector<std::unique_ptr<Client>> connect_many(Loop& loop, const Address& address, int count) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<Client>());
    auto result = start_connect(loop, clients.back()->socket, clients.back().get(), address, {});
    REQUIRE((result.state == ConnectResult::State::pending ||
             result.state == ConnectResult::State::connected));
  }
  return clients;
}

std::vector<int> connect_plain(const Address& address, int count) {
  std::vector<int> clients;
  for (int i = 0; i < count; ++i) {
    clients.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(clients.back(), address.data(), address.size()) == 0);
  }
  return clients;
}

template <class Condition>
void run_until(Loop& loop, Condition condition) {
  for (int i = 0; i < 10000 && !condition(); ++i) loop.run_once(1000);
  REQUIRE(condition());
}

}  // namespace

TEST_CASE("listening on IPv4, IPv6 and a unix path, and being connected to", "[listener]") {
  std::string path = socket_folder() + "/a.sock";
  std::string text =
      GENERATE_COPY(std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + path);
  Loop loop;
  Server server;
  server.open(loop, on(text), {});
  auto clients = connect_many(loop, server.address, 3);
  run_until(loop, [&] { return server.descriptors.size() == 3; });
  for (size_t i = 0; i < 3; ++i) {
    CHECK(server.peers[i].family() == server.address.family());
    CHECK((::fcntl(server.descriptors[i], F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(server.descriptors[i], F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(Address::local_of(server.descriptors[i]) == server.address);
  }
  if (server.address.is_unix()) {
    CHECK(server.address.text() == text);
    CHECK(server.peers[0].text() == "unix:");
    struct stat status{};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0666);
    ::unlink(path.c_str());
  } else {
    CHECK(server.peers[0].port() != 0);
    CHECK(server.peers[0] == Address::local_of(clients[0]->socket.descriptor()));
  }
}

TEST_CASE("a taken address is told as nginx tells it", "[listener]") {
  auto first = open_listener(on("127.0.0.1:0"));
  REQUIRE(first.descriptor >= 0);
  Address address = Address::local_of(first.descriptor);
  auto second = open_listener(on(address.text()));
  CHECK(second.descriptor < 0);
  CHECK(second.address_in_use);
  CHECK(second.failure.what == "bind() to " + address.text() + " failed");
  CHECK(second.failure.error == EADDRINUSE);
  ::close(first.descriptor);

  std::string path = socket_folder() + "/taken";
  ::close(::open(path.c_str(), O_CREAT | O_WRONLY, 0600));
  auto third = open_listener(on("unix:" + path));
  CHECK(third.address_in_use);
  CHECK(third.failure.what == "bind() to unix:" + path + " failed");
  ::unlink(path.c_str());

  auto foreign = open_listener(on("192.0.2.1:0"));
  CHECK(foreign.failure.error == EADDRNOTAVAIL);
  CHECK_FALSE(foreign.address_in_use);
}

TEST_CASE("reuseport gives several sockets one address", "[listener]") {
  ListenOptions options = on("127.0.0.1:0");
  options.reuseport = true;
  auto first = open_listener(options);
  REQUIRE(first.descriptor >= 0);
  options.address = Address::local_of(first.descriptor);
  auto second = open_listener(options);
  CHECK(second.descriptor >= 0);
  ::close(first.descriptor);
  ::close(second.descriptor);
}

TEST_CASE("sockets that share a port are left in peace before they are closed", "[listener]") {
  Loop loop;
  ListenOptions options = on("127.0.0.1:0");
  options.reuseport = true;
  Server servers[3];
  for (Server& server : servers) {
    server.open(loop, options, {});
    options.address = server.address;
  }
  std::vector<int> before = connect_plain(options.address, 60);
  REQUIRE(weir::net::steer_connections(servers[0].listener, 1) == 0);
  std::vector<int> after = connect_plain(options.address, 60);
  for (Server& server : servers) server.acceptor.accept_rest();
  CHECK(servers[0].descriptors.size() >= 60);
  CHECK(servers[1].descriptors.size() + servers[2].descriptors.size() > 0);  // of those before
  CHECK(servers[0].descriptors.size() + servers[1].descriptors.size() +
            servers[2].descriptors.size() ==
        120);
  const size_t first = servers[0].descriptors.size();
  REQUIRE(weir::net::steer_connections(servers[0].listener, 0) == 0);
  std::vector<int> again = connect_plain(options.address, 60);
  servers[0].acceptor.accept_rest();
  CHECK(servers[0].descriptors.size() < first + 60);
  for (const auto& clients : {before, after, again}) {
    for (const int client : clients) ::close(client);
  }
}

TEST_CASE("socket options are set, and changed while listening", "[listener]") {
  ListenOptions options = on("127.0.0.1:0");
  options.receive_buffer = 50000;
  options.send_buffer = 60000;
  options.deferred = true;
  options.fast_open = 5;
  options.keepalive = {KeepaliveOption::Mode::on, 100, 20, 3};
  auto opened = open_listener(options);
  int descriptor = opened.descriptor;
  REQUIRE(descriptor >= 0);
  CHECK(opened.ignored.empty());
  CHECK(option(descriptor, SOL_SOCKET, SO_RCVBUF) == 100000);  // the kernel doubles it
  CHECK(option(descriptor, SOL_SOCKET, SO_SNDBUF) == 120000);
  CHECK(option(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE) == 100);
  CHECK(option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL) == 20);
  CHECK(option(descriptor, IPPROTO_TCP, TCP_KEEPCNT) == 3);
  CHECK(option(descriptor, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
  CHECK(option(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1);

  ListenOptions changed = options;
  changed.backlog = 10;
  changed.deferred = false;
  changed.keepalive = {KeepaliveOption::Mode::off, 0, 0, 0};
  changed.send_buffer = 70000;
  CHECK(weir::net::can_keep(options, changed));
  CHECK(apply_changes(descriptor, options, changed).empty());
  CHECK(option(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 0);
  CHECK(option(descriptor, IPPROTO_TCP, TCP_DEFER_ACCEPT) == 0);
  CHECK(option(descriptor, SOL_SOCKET, SO_SNDBUF) == 140000);
  tcp_info info{};
  socklen_t size = sizeof(info);
  REQUIRE(::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
  CHECK(info.tcpi_sacked == 10);  // of a listening socket: its backlog
  changed.reuseport = true;
  CHECK_FALSE(weir::net::can_keep(options, changed));
  ::close(descriptor);
}

TEST_CASE("ipv6only decides whether IPv4 comes in too", "[listener]") {
  ListenOptions options = on("[::]:0");
  options.ipv6only = GENERATE(true, false);
  auto opened = open_listener(options);
  REQUIRE(opened.descriptor >= 0);
  CHECK(option(opened.descriptor, IPPROTO_IPV6, IPV6_V6ONLY) == (options.ipv6only ? 1 : 0));
  ::close(opened.descriptor);
}

TEST_CASE("datagram sockets open without listening", "[listener]") {
  ListenOptions options = on("127.0.0.1:0");
  options.type = SOCK_DGRAM;
  auto opened = open_listener(options);
  REQUIRE(opened.descriptor >= 0);
  CHECK(option(opened.descriptor, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
  ::close(opened.descriptor);
}

TEST_CASE("one connection an event, or as many as there are", "[acceptor]") {
  bool many = GENERATE(false, true);
  Loop loop;
  Server server;
  server.open(loop, on("127.0.0.1:0"), {.shared = true, .multi_accept = many});
  std::vector<int> clients = connect_plain(server.address, 5);
  loop.run_once(1000);
  CHECK(server.descriptors.size() == (many ? 5 : 1));
  run_until(loop, [&] { return server.descriptors.size() == 5; });
  for (int client : clients) ::close(client);
}

TEST_CASE("without descriptors accepting rests, and goes on later", "[acceptor]") {
  Loop loop;
  Server server;
  server.open(loop, on("127.0.0.1:0"), {.retry_milliseconds = 20});
  // Plain descriptors: the undefined-behaviour sanitizer needs a pipe to look at virtual calls.
  std::vector<int> clients = connect_plain(server.address, 2);
  // The limit is at the first free number: nothing more can be opened.
  int lowest = ::dup(0);
  ::close(lowest);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(lowest);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  for (int i = 0; i < 100 && server.errors.empty(); ++i) loop.run_once(1000);
  size_t errors = server.errors.size();
  loop.run_once(0);
  size_t errors_later = server.errors.size();
  ::setrlimit(RLIMIT_NOFILE, &before);
  REQUIRE(errors == 1);
  CHECK(server.errors[0] == EMFILE);
  CHECK(errors_later == 1);
  run_until(loop, [&] { return server.descriptors.size() == 2; });
  for (int client : clients) ::close(client);
}

TEST_CASE("connecting: refused, from a chosen address, with options", "[connector]") {
  Loop loop;
  auto opened = open_listener(on("127.0.0.1:0"));
  REQUIRE(opened.descriptor >= 0);
  Address address = Address::local_of(opened.descriptor);
  Client client;
  ConnectOptions options;
  options.bind = *Address::parse("127.0.0.2");
  options.keepalive = true;
  options.receive_buffer = 40000;
  options.send_buffer = 30000;
  auto result = start_connect(loop, client.socket, &client, address, options);
  REQUIRE(result.state != ConnectResult::State::failed);
  if (result.state == ConnectResult::State::pending) {
    run_until(loop, [&] { return client.writable == 1; });
    CHECK(client.error == 0);
  }
  int descriptor = client.socket.descriptor();
  CHECK(Address::local_of(descriptor).host_text() == "127.0.0.2");
  CHECK(Address::peer_of(descriptor) == address);
  CHECK(option(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(descriptor, SOL_SOCKET, SO_RCVBUF) == 80000);
  CHECK(option(descriptor, SOL_SOCKET, SO_SNDBUF) == 60000);
  CHECK(weir::net::set_no_delay(descriptor, true) == 0);
  CHECK(weir::net::set_cork(descriptor, true) == 0);
  CHECK(weir::net::unsent_bytes(descriptor) == 0);

  options = {};
  options.bind = *Address::parse("192.0.2.77");
  result = start_connect(loop, client.socket, &client, address, options);
  CHECK(result.state == ConnectResult::State::failed);
  CHECK(result.error == EADDRNOTAVAIL);
  CHECK(weir::net::failure_text(result, address, options) == "bind(192.0.2.77:0) failed");
  CHECK_FALSE(client.socket.is_open());

  Address nobody = *Address::parse("unix:" + socket_folder() + "/nobody");
  result = start_connect(loop, client.socket, &client, nobody, {});
  CHECK(result.state == ConnectResult::State::refused);
  CHECK(result.error == ENOENT);
  CHECK(weir::net::failure_text(result, nobody, {}) == "connect() to " + nobody.text() + " failed");

  ::close(opened.descriptor);
  Client refused;
  result = start_connect(loop, refused.socket, &refused, address, {});
  if (result.state == ConnectResult::State::pending) {
    run_until(loop, [&] { return refused.writable == 1; });
    CHECK(refused.error == ECONNREFUSED);
  } else {
    CHECK(result.error == ECONNREFUSED);
  }
}
