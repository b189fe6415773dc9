#include "engine/net/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "engine/event/loop.h"

using weir::Block;
using weir::Chain;
using weir::File;
using weir::Loop;
using weir::make_ref;
using weir::Slice;
using weir::Socket;
using weir::SocketHandler;
using weir::Transfer;
using weir::net::Layer;
using weir::net::read_file_slice;
using weir::net::Stream;
using weir::net::WriteResult;

namespace {

struct Side final : SocketHandler {
  void on_readable() override { ++readable; }
  void on_writable() override { ++writable; }
  std::string read_all() {
    std::string text;
    char buffer[5000];
    while (true) {
      last = stream.read(buffer, sizeof(buffer));
      if (last.state != Transfer::State::done) return text;
      text.append(buffer, last.bytes);
    }
  }
  Stream stream;
  Transfer last;
  int readable = 0;
  int writable = 0;
};

struct Pair {
  explicit Pair(Loop& loop) {
    int descriptors[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, descriptors) == 0);
    REQUIRE(a.stream.open(loop, descriptors[0], &a));
    REQUIRE(b.stream.open(loop, descriptors[1], &b));
  }
  Side a;
  Side b;
};

weir::Ref<File> file_with(std::string_view text) {
  char name[] = "/tmp/weir_stream_test_XXXXXX";
  int file = ::mkostemp(name, O_CLOEXEC);
  REQUIRE(file >= 0);
  ::unlink(name);
  REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return make_ref<File>(file);
}

// Turns letters around on their way out and in.
struct Swapper final : Layer {
  static char turn(char c) { return static_cast<char>(c ^ 0x20); }
  void on_readable() override { user_->on_readable(); }
  void on_writable() override { user_->on_writable(); }
  Transfer read(Socket& socket, char* to, size_t size) override {
    Transfer transfer = socket.read(to, size);
    std::transform(to, to + transfer.bytes, to, turn);
    return transfer;
  }
  Transfer peek(Socket& socket, char* to, size_t size) override { return socket.peek(to, size); }
  Transfer write(Socket& socket, const iovec* vectors, size_t count, bool) override {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      text.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
    }
    std::transform(text.begin(), text.end(), text.begin(), turn);
    iovec vector{text.data(), text.size()};
    return socket.write(&vector, 1);
  }
  size_t pending() const override { return held; }
  Transfer shutdown(Socket&) override {
    ++farewells;
    return farewells == 1 ? Transfer{Transfer::State::would_block} : Transfer{};
  }
  size_t held = 0;
  int farewells = 0;
};

// As a layer with kernel TLS: files go by themselves, in pieces, and not whenever they are asked
// to.
struct KernelSwapper final : Layer {
  void on_readable() override { user_->on_readable(); }
  void on_writable() override { user_->on_writable(); }
  Transfer read(Socket& socket, char* to, size_t size) override { return socket.read(to, size); }
  Transfer peek(Socket& socket, char* to, size_t size) override { return socket.peek(to, size); }
  Transfer write(Socket& socket, const iovec* vectors, size_t count, bool more) override {
    return socket.write(vectors, count, more);
  }
  bool can_send_file() const override { return able; }
  Transfer send_file(Socket& socket, int file, off_t offset, size_t size) override {
    if (++calls % 3 == 0) return {Transfer::State::would_block, 0, 0};
    return socket.send_file(file, offset, std::min<size_t>(size, 700));
  }
  size_t pending() const override { return 0; }
  Transfer shutdown(Socket&) override { return {}; }
  bool able = true;
  int calls = 0;
};

}  // namespace

TEST_CASE("a layer that can sends files itself", "[stream]") {
  Loop loop;
  Pair pair(loop);
  auto layer = std::make_unique<KernelSwapper>();
  KernelSwapper& kernel = *layer;
  pair.a.stream.set_layer(std::move(layer), &pair.a);
  kernel.able = GENERATE(true, false);
  CHECK(pair.a.stream.can_send_file() == kernel.able);
  std::string content;
  for (int i = 0; i < 1000; ++i) content += std::to_string(i);
  Chain chain;
  chain.push(Slice::copy_of("head"));
  chain.push(Slice::file_range(file_with(content), 5, 2000));
  chain.push(Slice::copy_of("tail"));
  std::string received;
  for (int i = 0; i < 20 && !chain.empty(); ++i) {
    const WriteResult result = pair.a.stream.write(chain);
    REQUIRE(result.state != WriteResult::State::failed);
    loop.run_once(10);
    received += pair.b.read_all();
  }
  received += pair.b.read_all();
  CHECK(received == "head" + content.substr(5, 2000) + "tail");
  CHECK(kernel.calls == (kernel.able ? 4 : 0));
  // A file that is shorter than it was.
  if (!kernel.able) return;
  kernel.calls = 0;
  chain.push(Slice::file_range(file_with("short"), 9, 10));
  CHECK(pair.a.stream.write(chain).error == EIO);
}

TEST_CASE("a chain of memory and files goes out in order", "[stream]") {
  Loop loop;
  Pair pair(loop);
  bool layered = GENERATE(false, true);
  if (layered) pair.a.stream.set_layer(std::make_unique<Swapper>(), &pair.a);
  if (layered) pair.b.stream.set_layer(std::make_unique<Swapper>(), &pair.b);
  CHECK(pair.a.stream.can_send_file() == !layered);
  Chain chain;
  std::string expected;
  for (int i = 0; i < 150; ++i) {
    std::string piece = "piece" + std::to_string(i);
    expected += piece;
    chain.push(Slice::copy_of(piece));
  }
  std::string content(40000, 'f');
  chain.push(Slice::file_range(file_with(content), 10, content.size() - 10));
  expected += content.substr(10);
  chain.push(Slice::borrowed("the end"));
  expected += "the end";
  std::string received;
  size_t sent = 0;
  for (int i = 0; i < 1000 && received.size() < expected.size(); ++i) {
    if (!chain.empty()) {
      WriteResult result = pair.a.stream.write(chain);
      REQUIRE(result.state != WriteResult::State::failed);
      CHECK((result.state == WriteResult::State::done) == chain.empty());
      sent += result.bytes;
    }
    loop.run_once(10);
    received += pair.b.read_all();
  }
  CHECK(sent == expected.size());
  CHECK(received == expected);
  CHECK(pair.b.readable > 0);
}

TEST_CASE("a write stops at its limit and at a file's chunk", "[stream]") {
  Loop loop;
  Pair pair(loop);
  Chain chain;
  chain.push(Slice::copy_of("0123456789"));
  chain.push(Slice::copy_of("abcdefghij"));
  auto result = pair.a.stream.write(chain, {.bytes = 12});
  CHECK(result.state == WriteResult::State::limited);
  CHECK(result.bytes == 12);
  CHECK(chain.bytes() == 8);
  chain.push(Slice::file_range(file_with(std::string(100, 'x')), 0, 100));
  result = pair.a.stream.write(chain, {.send_file_chunk = 30});
  CHECK(result.state == WriteResult::State::limited);
  CHECK(result.bytes == 38);
  result = pair.a.stream.write(chain, {.send_file_chunk = 0});
  CHECK(result.state == WriteResult::State::done);
  CHECK(result.bytes == 70);
  loop.run_once(100);
  CHECK(pair.b.read_all().size() == 120);
}

TEST_CASE("a full socket blocks, and the chain keeps the rest", "[stream]") {
  Loop loop;
  Pair pair(loop);
  std::string text(1000000, 'y');
  Chain chain;
  chain.push(Slice::copy_of(text));
  auto result = pair.a.stream.write(chain);
  CHECK(result.state == WriteResult::State::would_block);
  CHECK(result.bytes > 0);
  CHECK(chain.bytes() == text.size() - result.bytes);
  CHECK(pair.a.stream.write(chain).bytes == 0);
  std::string received;
  for (int i = 0; i < 10000 && received.size() < text.size(); ++i) {
    loop.run_once(10);
    received += pair.b.read_all();
    if (pair.a.writable > 0) {
      pair.a.writable = 0;
      pair.a.stream.write(chain);
    }
  }
  CHECK(received == text);
}

TEST_CASE("a file that shrank is an error", "[stream]") {
  Loop loop;
  Pair pair(loop);
  bool layered = GENERATE(false, true);
  if (layered) pair.a.stream.set_layer(std::make_unique<Swapper>(), &pair.a);
  Chain chain;
  chain.push(Slice::file_range(file_with("0123456789"), 20, 10));
  auto result = pair.a.stream.write(chain);
  CHECK(result.state == WriteResult::State::failed);
  CHECK(result.error == EIO);
}

TEST_CASE("file ranges are read into blocks", "[stream]") {
  auto file = file_with("0123456789");
  auto read = read_file_slice(Slice::file_range(file, 3, 5), Block::take());
  CHECK(read.error == 0);
  CHECK(read.slice.view() == "34567");
  read = read_file_slice(Slice::file_range(file, 3, 5), Block::take(2));
  CHECK(read.slice.view() == "34");
  CHECK(read_file_slice(Slice::file_range(file, 8, 5), Block::take()).error == EIO);
  CHECK(read_file_slice(Slice::file_range(make_ref<File>(-1), 0, 5), Block::take()).error == EBADF);
}

TEST_CASE("shutting down says the layer's farewell first", "[stream]") {
  Loop loop;
  Pair pair(loop);
  pair.a.stream.set_layer(std::make_unique<Swapper>(), &pair.a);
  CHECK(pair.a.stream.shutdown().state == Transfer::State::would_block);
  loop.run_once(0);
  CHECK_FALSE(pair.b.stream.socket().peer_closed());
  CHECK(pair.a.stream.shutdown().state == Transfer::State::done);
  for (int i = 0; i < 100 && !pair.b.stream.socket().peer_closed(); ++i) loop.run_once(100);
  pair.b.read_all();
  CHECK(pair.b.last.state == Transfer::State::end);
  pair.a.stream.close();
  CHECK_FALSE(pair.a.stream.is_open());
  CHECK(pair.a.stream.is_plain());
}

TEST_CASE("what a layer holds counts as readable", "[stream]") {
  Loop loop;
  Pair pair(loop);
  CHECK_FALSE(pair.a.stream.maybe_readable());
  auto layer = std::make_unique<Swapper>();
  layer->held = 3;
  pair.a.stream.set_layer(std::move(layer), &pair.a);
  CHECK(pair.a.stream.maybe_readable());
  CHECK(sizeof(Stream) <= 48);
}
