#include "engine/base/free_list.h"

#include <malloc.h>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "engine/base/arena.h"
#include "engine/base/pooled.h"
#include "engine/base/slice.h"

using namespace weir;

namespace {

size_t in_use() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace

TEST_CASE("free lists keep pieces until they are drained") {
  if (!WEIR_POOLS) return;
  constexpr size_t kCount = 50;
  drain_free_lists();
  std::vector<void*> pieces(kCount);
  std::vector<Ref<Block>> blocks(kCount);
  std::vector<Arena> arenas(kCount);
  const size_t before = in_use();
  for (int round = 0; round < 2; ++round) {
    for (void*& piece : pieces) piece = allocate_pooled(2000);
    for (auto& block : blocks) block = Block::take(Block::kBlockSize);
    for (Arena& arena : arenas) arena.text(100);
    for (void* piece : pieces) free_pooled(piece, 2000);
    for (auto& block : blocks) block = {};
    for (Arena& arena : arenas) arena.reset();
    CHECK(in_use() >= before + kCount * (2000 + Block::kBlockSize + 2048));
    drain_free_lists();
    CHECK(in_use() <= before + 4096);
  }
}

TEST_CASE("draining is for the thread that does it") {
  if (!WEIR_POOLS) return;
  FreeList list;
  FreeListKeeper keeper(std::span(&list, 1));
  REQUIRE(list.push(allocate_piece(64), 10));
  std::thread([] { drain_free_lists(); }).join();
  CHECK(list.count() == 1);
  drain_free_lists();
  CHECK(list.count() == 0);
}
