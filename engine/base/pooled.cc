#include "engine/base/pooled.h"

#include <array>
#include <cstdint>
#include <cstdlib>

#include "engine/base/free_list.h"

namespace weir {
namespace {

constexpr size_t kStep = 64;
constexpr size_t kLargest = 4096 + kStep;  // a block of 4 KB has a head
constexpr size_t kBytesKept = 256 * 1024;  // a class and thread

// How many pieces of each class are kept.
constexpr auto kLimits = [] {
  std::array<uint32_t, kLargest / kStep + 1> limits{};
  for (size_t i = 1; i < limits.size(); ++i) limits[i] = kBytesKept / (i * kStep);
  return limits;
}();

constinit thread_local std::array<FreeList, kLargest / kStep + 1> free_pieces{};

thread_local FreeListKeeper keeper(free_pieces);

}  // namespace

void* allocate_pooled(size_t size) {
  if (size > kLargest) return allocate_piece(size);
  size_t index = (size + kStep - 1) / kStep;
  if (void* piece = free_pieces[index].pop()) return piece;
  keeper.arm();
  return allocate_piece(index * kStep);
}

void free_pooled(void* memory, size_t size) {
  size_t index = (size + kStep - 1) / kStep;
  if (size > kLargest || !free_pieces[index].push(memory, kLimits[index])) std::free(memory);
}

}  // namespace weir
