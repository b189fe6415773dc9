#include "engine/event/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/event/loop.h"

using weir::Loop;
using weir::Socket;
using weir::SocketHandler;
using weir::Transfer;
using State = weir::Transfer::State;

namespace {

struct Side final : SocketHandler {
  Side() = default;
  Side(Loop& loop, int descriptor) : socket(loop, descriptor, this) {}
  void on_readable() override {
    ++readable;
    if (readable_then) readable_then();
  }
  void on_writable() override {
    ++writable;
    if (writable_then) writable_then();
  }
  Transfer write(std::string_view text) {
    iovec vector{const_cast<char*>(text.data()), text.size()};
    return socket.write(&vector, 1);
  }
  std::string read_all(size_t step = 4096) {
    std::string text;
    std::string buffer(step, 0);
    while (true) {
      last = socket.read(buffer.data(), buffer.size());
      if (last.state != State::done) return text;
      text.append(buffer, 0, last.bytes);
    }
  }
  Socket socket;
  Transfer last;
  int readable = 0;
  int writable = 0;
  std::function<void()> readable_then;
  std::function<void()> writable_then;
};

struct Pair {
  explicit Pair(Loop& loop) {
    int descriptors[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, descriptors) == 0);
    a = std::make_unique<Side>(loop, descriptors[0]);
    b = std::make_unique<Side>(loop, descriptors[1]);
  }
  std::unique_ptr<Side> a;
  std::unique_ptr<Side> b;
};

template <class Condition>
void run_until(Loop& loop, Condition condition) {
  for (int i = 0; i < 10000 && !condition(); ++i) loop.run_once(1000);
  REQUIRE(condition());
}

int listening_socket(sockaddr_in& address) {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  socklen_t size = sizeof(address);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return listener;
}

}  // namespace

TEST_CASE("a socket is small", "[socket]") {
  CHECK(sizeof(Socket) <= 40);
}

TEST_CASE("bytes arrive, one edge a batch of them, and the end is seen", "[socket]") {
  Loop loop;
  Pair pair(loop);
  char byte;
  CHECK(pair.b->socket.read(&byte, 1).state == State::would_block);
  CHECK(pair.a->write("hello ").bytes == 6);
  CHECK(pair.a->write("world").bytes == 5);
  run_until(loop, [&] { return pair.b->readable > 0; });
  CHECK(pair.b->socket.maybe_readable());
  CHECK(pair.b->read_all() == "hello world");
  CHECK(pair.b->last.state == State::would_block);
  CHECK_FALSE(pair.b->socket.maybe_readable());
  loop.run_once(0);
  CHECK(pair.b->readable == 1);

  CHECK(pair.a->write("bye").bytes == 3);
  pair.a->socket.shutdown_write();
  run_until(loop, [&] { return pair.b->socket.peer_closed(); });
  CHECK(pair.b->read_all() == "bye");  // a short read does not hide the end
  CHECK(pair.b->last.state == State::end);
  CHECK(pair.b->socket.read(&byte, 1).state == State::end);
}

TEST_CASE("an edge is told once, and kept until it is read", "[socket]") {
  Loop loop;
  Pair pair(loop);
  pair.a->write("0123456789");
  run_until(loop, [&] { return pair.b->readable == 1; });
  for (int i = 0; i < 3; ++i) loop.run_once(0);
  CHECK(pair.b->readable == 1);
  char buffer[4];
  CHECK(pair.b->socket.peek(buffer, 4).bytes == 4);
  CHECK(pair.b->socket.read(buffer, 4).bytes == 4);
  CHECK(pair.b->socket.maybe_readable());  // a full read says nothing
  CHECK(pair.b->read_all() == "456789");
  pair.a->write("x");
  run_until(loop, [&] { return pair.b->readable == 2; });
}

TEST_CASE("a full buffer blocks, and writable comes when there is room", "[socket]") {
  Loop loop;
  Pair pair(loop);
  loop.run_once(0);  // the first edge: both ways open
  CHECK(pair.a->writable == 0);
  std::string block(100000, 'x');
  size_t sent = 0;
  Transfer transfer;
  while ((transfer = pair.a->write(block)).state == State::done) sent += transfer.bytes;
  CHECK(transfer.state == State::would_block);
  CHECK_FALSE(pair.a->socket.maybe_writable());
  loop.run_once(0);
  CHECK(pair.a->writable == 0);
  run_until(loop, [&] { return pair.b->readable > 0; });
  size_t received = 0;
  while (received < sent) received += pair.b->read_all(65536).size();
  run_until(loop, [&] { return pair.a->writable == 1; });
  CHECK(pair.a->write("more").bytes == 4);
}

TEST_CASE("writing to a closed peer fails without a signal", "[socket]") {
  Loop loop;
  Pair pair(loop);
  pair.b.reset();
  Transfer transfer = pair.a->write("x");
  CHECK(transfer.state == State::failed);
  CHECK(transfer.error == EPIPE);
  run_until(loop, [&] { return pair.a->socket.peer_closed(); });
  CHECK(pair.a->readable == 1);
}

TEST_CASE("files are sent, and a shrunken file is an error", "[socket]") {
  Loop loop;
  Pair pair(loop);
  char name[] = "/tmp/weir_socket_test_XXXXXX";
  int file = ::mkostemp(name, O_CLOEXEC);
  REQUIRE(file >= 0);
  ::unlink(name);
  REQUIRE(::write(file, "0123456789", 10) == 10);
  CHECK(pair.a->socket.send_file(file, 2, 5).bytes == 5);
  Transfer transfer = pair.a->socket.send_file(file, 10, 5);
  CHECK(transfer.state == State::failed);
  CHECK(transfer.error == EIO);
  run_until(loop, [&] { return pair.b->readable == 1; });
  CHECK(pair.b->read_all() == "23456");
  ::close(file);
}

TEST_CASE("read_later takes turns", "[socket]") {
  Loop loop;
  Pair bulk(loop);
  Pair small(loop);
  std::string order;
  bulk.b->readable_then = [&] {
    char buffer[10];
    Transfer transfer = bulk.b->socket.read(buffer, sizeof(buffer));
    order += 'B';
    if (transfer.state == State::done) bulk.b->socket.read_later();
  };
  small.b->readable_then = [&] {
    small.b->read_all();
    order += 's';
  };
  bulk.a->write(std::string(200, 'x'));
  loop.run_once(1000);
  CHECK(order == "B");
  small.a->write("1");
  loop.run_once(0);
  CHECK((order == "BsB" || order == "BBs"));
  bulk.a->write("more");  // an edge for one that waits for its turn gives no second turn
  loop.run_once(0);
  CHECK(order.size() == 4);
  small.a->write("2");
  loop.run_once(0);
  CHECK(std::count(order.begin(), order.end(), 's') == 2);
  run_until(loop, [&] { return !bulk.b->socket.maybe_readable(); });
  size_t turns = order.size();
  loop.run_once(0);
  CHECK(order.size() == turns);
}

TEST_CASE("a socket destroyed while it waits for its turn is forgotten", "[socket]") {
  Loop loop;
  std::vector<std::unique_ptr<Pair>> pairs;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    pairs.push_back(std::make_unique<Pair>(loop));
    Side* side = pairs.back()->b.get();
    side->readable_then = [&calls, &pairs, side] {
      ++calls;
      side->socket.read_later();
      if (calls <= 3) return;
      auto& all = pairs;  // this function object goes, too
      for (auto& pair : all) pair->b.reset();
    };
    pairs.back()->a->write("x");
  }
  loop.run_once(1000);
  REQUIRE(calls == 3);
  loop.run_once(0);
  CHECK(calls == 4);
  loop.run_once(0);
  CHECK(calls == 4);
}

TEST_CASE("events of the batch that name a destroyed socket are dropped", "[socket]") {
  Loop loop;
  std::vector<std::unique_ptr<Pair>> pairs;
  int calls = 0;
  for (int i = 0; i < 50; ++i) {
    pairs.push_back(std::make_unique<Pair>(loop));
    pairs.back()->a->write("x");
    pairs.back()->b->readable_then = [&calls, &pairs, &loop] {
      ++calls;
      auto& pairs_left = pairs;  // this function object goes, too
      Loop& the_loop = loop;
      std::vector<std::unique_ptr<Pair>> all;
      all.swap(pairs_left);
      all.clear();  // the one that is being told, too
      // New sockets, perhaps at the old addresses, in the same batch.
      for (int j = 0; j < 50; ++j) pairs_left.push_back(std::make_unique<Pair>(the_loop));
    };
  }
  loop.run_once(1000);
  CHECK(calls == 1);
  loop.run_once(0);
  for (auto& pair : pairs) {
    CHECK(pair->a->readable == 0);
    CHECK(pair->b->readable == 0);
  }
}

TEST_CASE("a socket reopened inside its own handler is not told of the old one", "[socket]") {
  Loop loop;
  Pair pair(loop);
  Pair other(loop);
  pair.a->write("old");
  pair.b->readable_then = [&] {
    if (pair.b->readable == 1) {
      int descriptor = other.b->socket.release();
      pair.b->socket.open(loop, descriptor, pair.b.get());
    }
  };
  loop.run_once(1000);
  CHECK(pair.b->readable == 1);
  CHECK_FALSE(pair.b->socket.maybe_readable());
  other.a->write("new");
  run_until(loop, [&] { return pair.b->readable == 2; });
  CHECK(pair.b->read_all() == "new");
}

TEST_CASE("connecting tells success and refusal through on_writable alone", "[socket]") {
  Loop loop;
  sockaddr_in address;
  int listener = listening_socket(address);
  bool accepts = GENERATE(true, false);
  if (accepts) REQUIRE(::listen(listener, 5) == 0);
  int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int status = ::connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  REQUIRE((status == 0 || errno == EINPROGRESS || errno == ECONNREFUSED));
  Side side(loop, descriptor);
  side.socket.expect_connect();
  CHECK(side.socket.connecting());
  CHECK(side.write("early").state == State::would_block);
  int error = -1;
  int readable_before = -1;
  side.writable_then = [&] {
    readable_before = side.readable;
    error = side.socket.connect_error();
    if (error != 0) side.socket.close();
  };
  run_until(loop, [&] { return side.writable == 1; });
  CHECK(readable_before == 0);
  CHECK_FALSE(side.socket.connecting());
  CHECK((error == 0) == accepts);
  if (!accepts) {
    loop.run_once(0);
    CHECK(side.readable == 0);
  }
  ::close(listener);
}

TEST_CASE("reset instead of an orderly end", "[socket]") {
  Loop loop;
  sockaddr_in address;
  int listener = listening_socket(address);
  REQUIRE(::listen(listener, 5) == 0);
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  int accepted = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  REQUIRE(accepted >= 0);
  Side server(loop, accepted);
  ::fcntl(client, F_SETFL, O_NONBLOCK);
  Side peer(loop, client);
  server.socket.close_with_reset();
  CHECK_FALSE(server.socket.is_open());
  run_until(loop, [&] { return peer.readable == 1; });
  char byte;
  Transfer transfer = peer.socket.read(&byte, 1);
  CHECK(transfer.state == State::failed);
  CHECK(transfer.error == ECONNRESET);
  ::close(listener);
}

TEST_CASE("data and reset together: what came before a broken write is read first", "[socket]") {
  Loop loop;
  Pair pair(loop);
  std::string order;
  pair.a->readable_then = [&] { order += 'r'; };
  pair.a->writable_then = [&] { order += 'w'; };
  std::string block(100000, 'x');
  while (pair.a->write(block).state == State::done) {
  }
  pair.b->write("answer");
  pair.b.reset();
  run_until(loop, [&] { return order.size() == 2; });
  CHECK(order == "rw");
}

TEST_CASE("what cannot be watched is refused", "[socket]") {
  Loop loop;
  Side side;
  int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  CHECK_FALSE(side.socket.open(loop, file, &side));
  CHECK_FALSE(side.socket.is_open());
  CHECK(::fcntl(file, F_GETFD) < 0);
  char byte;
  CHECK(side.socket.read(&byte, 1).error == EBADF);
  CHECK(side.write("x").error == EBADF);
}
