#include "engine/process/idle_memory.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <vector>

#include "engine/base/free_list.h"
#include "engine/event/loop.h"
#include "engine/event/timer.h"

using namespace weir;

namespace {

constexpr size_t kPiece = 32 << 10;
constexpr size_t kPieces = 512;  // 16 MB
constexpr uint64_t kPatienceMilliseconds = 20000;

// Stops the loop when the memory is below a limit, or too late.
struct Wait {
  Wait(Loop& waiting, size_t memory) : loop(waiting), limit(memory), timer(&Wait::look, this) {
    timer.arm(loop, 100);
  }
  static void look(void* self) {
    auto& wait = *static_cast<Wait*>(self);
    if (process::private_memory() < wait.limit || ++wait.looks == kPatienceMilliseconds / 100) {
      wait.loop.stop();
    } else {
      wait.timer.arm(wait.loop, 100);
    }
  }
  Loop& loop;
  size_t limit;
  uint64_t looks = 0;
  Timer timer;
};

}  // namespace

TEST_CASE("what a few connections held goes back when they are gone", "[idle_memory]") {
  Loop loop;
  uint32_t connections = 0;
  process::IdleMemory memory(loop, connections);
  connections = 6;
  memory.watch();
  // Every second one stays, so that the heap cannot just end sooner.
  std::vector<void*> held(2 * kPieces);
  for (void*& piece : held) {
    piece = std::calloc(kPiece, 1);
    for (size_t at = 0; at < kPiece; at += 1024) static_cast<volatile char*>(piece)[at] = 1;
  }
  memory.trim();  // it looked while they were in use
  const size_t during = process::private_memory();
  for (size_t i = 0; i < held.size(); i += 2) std::free(held[i]);
  connections = 1;
  const Wait wait(loop, during - kPieces * kPiece / 2);
  loop.run();
  if (WEIR_POOLS) CHECK(process::private_memory() < wait.limit);
  for (size_t i = 1; i < held.size(); i += 2) std::free(held[i]);
}
