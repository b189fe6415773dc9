#include "engine/base/generation_heap.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/free_list.h"

using namespace weir;

namespace {

constexpr bool kInUse = WEIR_POOLS != 0;

struct Pieces {
  std::vector<char*> all;
  std::vector<size_t> sizes;

  void make(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const size_t size = 1 + i * 37 % 4500;
      all.push_back(static_cast<char*>(::operator new(size)));
      sizes.push_back(size);
      std::memset(all.back(), static_cast<int>(i % 251), size);
    }
  }
  bool are_whole() const {
    for (size_t i = 0; i < all.size(); ++i) {
      const char* piece = all[i];
      if (!std::all_of(piece, piece + sizes[i],
                       [&](char c) { return static_cast<unsigned char>(c) == i % 251; })) {
        return false;
      }
      if (reinterpret_cast<uintptr_t>(piece) % alignof(std::max_align_t) != 0) return false;
    }
    return true;
  }
  void free() {
    for (char* piece : all) ::operator delete(piece);
    std::vector<char*>().swap(all);
    std::vector<size_t>().swap(sizes);
  }
};

}  // namespace

TEST_CASE("what a generation took goes back when it ends") {
  const size_t before = generation_heap_bytes();
  Pieces pieces;
  {
    GenerationHeap heap;
    pieces.make(3000);
    CHECK((generation_heap_bytes() > before) == kInUse);
  }
  Pieces outside;
  const size_t with = generation_heap_bytes();
  outside.make(100);
  CHECK(generation_heap_bytes() == with);
  CHECK(pieces.are_whole());
  CHECK(outside.are_whole());
  pieces.free();
  CHECK(generation_heap_bytes() == before);
  outside.free();
}

TEST_CASE("pieces freed while a generation is made are used again") {
  const size_t before = generation_heap_bytes();
  std::optional<GenerationHeap> heap(std::in_place);
  for (int i = 0; i < 100'000; ++i) ::operator delete(::operator new(100));
  CHECK(generation_heap_bytes() - before <= 64 * 1024);
  heap.reset();
  CHECK(generation_heap_bytes() == before);
}

TEST_CASE("what outlives its generation keeps one span") {
  const size_t before = generation_heap_bytes();
  Pieces pieces;
  std::unique_ptr<int> survivor;
  {
    GenerationHeap heap;
    pieces.make(1000);
    survivor = std::make_unique<int>(7);
    pieces.make(1000);
  }
  pieces.free();
  CHECK(generation_heap_bytes() - before <= 32 * 1024);
  CHECK(*survivor == 7);
  survivor.reset();
  CHECK(generation_heap_bytes() == before);
}

TEST_CASE("a generation is freed by any thread, also while it is made") {
  const size_t before = generation_heap_bytes();
  Pieces pieces;
  Pieces early;
  Pieces late;
  {
    GenerationHeap heap;
    early.make(1000);
    pieces.make(1000);
    std::thread other([&] { early.free(); });
    late.make(1000);
    other.join();
  }
  CHECK(pieces.are_whole());
  CHECK(late.are_whole());
  std::thread other([&] { pieces.free(); });
  late.free();
  other.join();
  CHECK(generation_heap_bytes() == before);
}

TEST_CASE("generations that nest keep apart") {
  const size_t before = generation_heap_bytes();
  Pieces outer;
  Pieces inner;
  {
    GenerationHeap first;
    outer.make(500);
    {
      GenerationHeap second;
      inner.make(500);
      outer.free();
    }
    outer.make(500);
  }
  const size_t both = generation_heap_bytes();
  inner.free();
  CHECK((generation_heap_bytes() < both) == kInUse);
  CHECK(outer.are_whole());
  outer.free();
  CHECK(generation_heap_bytes() == before);
}

TEST_CASE("pieces are resized across the border of the heap") {
  const size_t before = generation_heap_bytes();
  char* piece = nullptr;
  {
    GenerationHeap heap;
    piece = static_cast<char*>(heap_allocate(100));
    std::memset(piece, 'a', 100);
    piece = static_cast<char*>(heap_resize(piece, 108));
    piece = static_cast<char*>(heap_resize(piece, 5000));
    piece = static_cast<char*>(heap_resize(piece, 10000));
    heap_free(piece);
    piece = static_cast<char*>(heap_allocate(200));
    std::memset(piece, 'b', 200);
  }
  piece = static_cast<char*>(heap_resize(piece, 3000));
  CHECK(std::string_view(piece, 200) == std::string(200, 'b'));
  piece = static_cast<char*>(heap_resize(piece, 20));
  CHECK(std::string_view(piece, 20) == std::string(20, 'b'));
  heap_free(piece);
  heap_free(nullptr);
  CHECK(generation_heap_bytes() == before);
}
