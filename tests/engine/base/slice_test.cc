#include "engine/base/slice.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

using weir::Block;
using weir::Chain;
using weir::File;
using weir::make_ref;
using weir::Ref;
using weir::Slice;

namespace {

std::string text_of(const Chain& chain) {
  std::string text;
  for (size_t i = 0; i < chain.count(); ++i) text += chain[i].view();
  return text;
}

bool is_open(int descriptor) {
  return ::fcntl(descriptor, F_GETFD) >= 0;
}

}  // namespace

TEST_CASE("a block lives as long as a slice views it", "[slice]") {
  Ref<Block> block = Block::take();
  CHECK(block->capacity() == Block::kBlockSize);
  std::memcpy(block->data(), "hello world", 11);
  Slice slice(block, block->data(), 11);
  CHECK(block->reference_count() == 2);
  Slice world = slice.sub(6, 5);
  CHECK(block->reference_count() == 3);
  slice = Slice();
  block = nullptr;
  CHECK(world.view() == "world");
  CHECK(world.block()->reference_count() == 1);
}

TEST_CASE("blocks are reused, odd sizes are not kept", "[slice]") {
  for (int i = 0; i < 200; ++i) {
    std::vector<Ref<Block>> many;
    for (int j = 0; j < 100; ++j) many.push_back(Block::take(j % 2 == 0 ? Block::kBlockSize : 100));
    for (auto& block : many) std::memset(block->data(), 1, block->capacity());
  }
  CHECK(Slice::copy_of("").empty());
  Slice copy = Slice::copy_of("abc");
  CHECK(copy.view() == "abc");
  CHECK(copy.block()->capacity() == 3);
}

TEST_CASE("a file closes with its last slice", "[slice]") {
  int descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Chain chain;
  chain.push(Slice::file_range(make_ref<File>(descriptor), 10, 100));
  Slice part = chain.front().sub(20, 30);
  CHECK(part.is_file());
  CHECK(part.offset() == 30);
  CHECK(part.size() == 30);
  chain.clear();
  CHECK(is_open(descriptor));
  part = Slice();
  CHECK_FALSE(is_open(descriptor));
}

TEST_CASE("a chain keeps order and counts bytes", "[chain]") {
  Chain chain;
  CHECK(chain.empty());
  CHECK(chain.bytes() == 0);
  chain.push(Slice());
  CHECK(chain.empty());
  chain.push(Slice::copy_of("one "));
  chain.push(Slice::borrowed("two "));
  chain.push(Slice::copy_of("three"));
  CHECK(chain.count() == 3);
  CHECK(chain.bytes() == 13);
  CHECK(text_of(chain) == "one two three");
  chain.consume(6);
  CHECK(text_of(chain) == "o three");
  CHECK(chain.bytes() == 7);
  Slice first = chain.take_front();
  CHECK(first.view() == "o ");
  Chain other;
  other.push(Slice::copy_of("zero "));
  other.append(std::move(chain));
  CHECK(text_of(other) == "zero three");
  CHECK(chain.empty());
  CHECK(chain.bytes() == 0);
  Chain third;
  third.append(std::move(other));
  CHECK(text_of(third) == "zero three");
  CHECK(other.empty());
  third.consume(third.bytes());
  CHECK(third.empty());
  third.release();
  third.push(Slice::copy_of("x"));
  third.release();
  CHECK(text_of(third) == "x");
}

TEST_CASE("a chain that was moved from is empty", "[chain]") {
  Chain from;
  for (const char* text : {"one ", "two ", "three"}) from.push(Slice::copy_of(text));
  from.consume(4);
  Chain made(std::move(from));
  CHECK(from.empty());  // NOLINT(bugprone-use-after-move)
  CHECK(from.bytes() == 0);
  CHECK(text_of(made) == "two three");
  from.push(Slice::copy_of("four"));
  CHECK(text_of(from) == "four");
  made = std::move(from);
  CHECK(from.empty());  // NOLINT(bugprone-use-after-move)
  CHECK(from.count() == 0);
  CHECK(text_of(made) == "four");
}

TEST_CASE("neighbours in one block or file merge", "[chain]") {
  Ref<Block> block = Block::take(16);
  std::memcpy(block->data(), "0123456789", 10);
  Chain chain;
  chain.push(Slice(block, block->data(), 4));
  chain.push(Slice(block, block->data() + 4, 6));
  CHECK(chain.count() == 1);
  CHECK(chain.front().view() == "0123456789");
  chain.push(Slice(block, block->data(), 2));
  CHECK(chain.count() == 2);
  auto file = make_ref<File>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  chain.push(Slice::file_range(file, 0, 5));
  chain.push(Slice::file_range(file, 5, 5));
  chain.push(Slice::file_range(file, 11, 5));
  CHECK(chain.count() == 4);
  CHECK(chain.bytes() == 27);
}

TEST_CASE("vectors stop at a file and at the limit", "[chain]") {
  Chain chain;
  chain.push(Slice::copy_of("ab"));
  chain.push(Slice::copy_of("cde"));
  chain.push(Slice::file_range(make_ref<File>(::open("/dev/null", O_RDONLY | O_CLOEXEC)), 0, 5));
  chain.push(Slice::copy_of("f"));
  iovec vectors[4];
  REQUIRE(chain.vectors(vectors, 4) == 2);
  CHECK(vectors[1].iov_len == 3);
  CHECK(chain.vectors(vectors, 1) == 1);
  chain.consume(5);
  CHECK(chain.vectors(vectors, 4) == 0);
}

TEST_CASE("a chain used as a queue does not grow", "[chain]") {
  Chain chain;
  std::string in;
  std::string out;
  for (int i = 0; i < 5000; ++i) {
    std::string piece = std::to_string(i) + " ";
    in += piece;
    chain.push(Slice::copy_of(piece));
    if (i % 7 != 0 && chain.bytes() > 20) {
      out += chain.front().view();
      chain.take_front();
    }
  }
  out += text_of(chain);
  CHECK(in == out);
}
