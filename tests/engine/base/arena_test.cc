#include "engine/base/arena.h"

#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

using weir::Arena;
using weir::ArenaText;

TEST_CASE("arena allocations are aligned, distinct and freed together", "[arena]") {
  Arena arena;
  CHECK(arena.bytes_held() == 0);
  std::vector<char*> pieces;
  for (size_t i = 0; i < 500; ++i) {
    auto* piece = static_cast<char*>(arena.allocate(i % 37, 1 << (i % 7)));
    REQUIRE(piece != nullptr);
    REQUIRE(reinterpret_cast<uintptr_t>(piece) % (1u << (i % 7)) == 0);
    std::memset(piece, static_cast<int>(i), i % 37);
    pieces.push_back(piece);
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (size_t j = 0; j < i % 37; ++j)
      REQUIRE(static_cast<unsigned char>(pieces[i][j]) == i % 256);
  }
  CHECK(arena.bytes_held() >= 2048);
  arena.reset();
  CHECK(arena.bytes_held() == 0);
  CHECK(arena.copy("again") == "again");
}

TEST_CASE("a large allocation has its own block and leaves the current one in use", "[arena]") {
  Arena arena;
  char* first = arena.text(10);
  char* large = arena.text(100000);
  std::memset(large, 'x', 100000);
  char* second = arena.text(10);
  CHECK(second == first + 10);
  auto* aligned = arena.allocate(5000, 256);
  CHECK(reinterpret_cast<uintptr_t>(aligned) % 256 == 0);
  auto* exactly = static_cast<char*>(arena.allocate(2048 - 16, 1));
  std::memset(exactly, 1, 2048 - 16);
  CHECK(arena.bytes_held() > 100000 + 5000);
}

TEST_CASE("objects are destroyed newest first", "[arena]") {
  std::string order;
  struct Mark {
    std::string& order;
    char name;
    Mark(std::string& to, char what) : order(to), name(what) {}
    ~Mark() { order += name; }
  };
  {
    Arena arena;
    arena.make<Mark>(order, 'a');
    arena.make<Mark>(order, 'b');
    arena.on_reset(&order, [](void* p) { *static_cast<std::string*>(p) += '-'; });
    arena.make<Mark>(order, 'c');
    arena.reset();
    CHECK(order == "c-ba");
    arena.make<Mark>(order, 'd');
  }
  CHECK(order == "c-bad");
}

TEST_CASE("text grows in place, by moving and by stretching", "[arena]") {
  Arena arena;
  char* at = arena.text(8);
  std::memcpy(at, "12345678", 8);
  CHECK(arena.grow(at, 8, 16) == at);
  arena.text(1);
  char* moved = arena.grow(at, 16, 32);
  CHECK(moved != at);
  CHECK(std::string_view(moved, 8) == "12345678");

  ArenaText text(arena, 4);
  std::string expected;
  for (int i = 0; i < 30000; ++i) {
    std::string piece = std::to_string(i);
    text.append(piece);
    text.push_back(',');
    expected += piece + ",";
  }
  CHECK(text.view() == expected);
  // The halves are not all kept: at most double what is needed, and small change.
  CHECK(arena.bytes_held() < 3 * expected.size());
}

TEST_CASE("arenas of a thread that ends give their blocks back", "[arena]") {
  std::thread([] {
    Arena arena;
    for (int i = 0; i < 100; ++i) arena.text(1000);
  }).join();
}
