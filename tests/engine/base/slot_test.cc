#include "engine/base/slot.h"

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

using namespace weir;

namespace {

size_t pages_in_memory(void* slot) {
  unsigned char there[kSlotSize / 4096];
  REQUIRE(::mincore(slot, kSlotSize, there) == 0);
  size_t count = 0;
  for (const unsigned char each : there) count += each & 1;
  return count;
}

// Mostly zero, as the structs of libraries are.
std::string sparse(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; i += 97) text[i] = static_cast<char>(i % 251 + 1);
  text[size - 1] = 'z';
  return text;
}

}  // namespace

TEST_CASE("a slot is folded and gets its content back") {
  void* slot = take_slot();
  REQUIRE(slot != nullptr);
  CHECK(is_in_slot(slot));
  CHECK(is_in_slot(static_cast<char*>(slot) + kSlotSize - 1));
  for (const size_t size : {size_t{7000}, size_t{8192}, size_t{12345}, kSlotSize}) {
    const std::string content = sparse(size);
    std::memcpy(slot, content.data(), size);
    // The last word is folded whole.
    std::memset(static_cast<char*>(slot) + size, 0, (8 - size % 8) % 8);
    for (int i = 0; i < 3; ++i) {
      FoldedSlot folded;
      REQUIRE(folded.fold(slot, size));
      CHECK(folded.holds());
      CHECK(pages_in_memory(slot) == 0);
      folded.unfold(slot);
      CHECK_FALSE(folded.holds());
      CHECK(std::memcmp(slot, content.data(), size) == 0);
    }
  }
  free_slot(slot);
}

TEST_CASE("a slot that is dense is left as it is") {
  void* slot = take_slot();
  std::memset(slot, 'x', 8000);
  FoldedSlot folded;
  CHECK_FALSE(folded.fold(slot, 8000));
  CHECK_FALSE(folded.holds());
  CHECK(static_cast<char*>(slot)[7999] == 'x');
  free_slot(slot);
}

TEST_CASE("slots are taken again, and free ones hold no memory but a few") {
  std::vector<void*> slots(500);
  for (void*& slot : slots) {
    slot = take_slot();
    std::memset(slot, 1, kSlotSize);
  }
  FoldedSlot folded;
  std::memset(slots[0], 0, kSlotSize);
  REQUIRE(folded.fold(slots[0], kSlotSize));
  folded.drop(slots[0]);
  for (void* slot : slots) free_slot(slot);
  size_t held = 0;
  for (void* slot : slots) held += pages_in_memory(slot);
  CHECK(held <= 64 * (kSlotSize / 4096));
  const std::vector<void*> before = slots;
  for (void*& slot : slots) {
    slot = take_slot();
    CHECK(std::find(before.begin(), before.end(), slot) != before.end());
    std::memset(slot, 2, kSlotSize);
  }
  for (void* slot : slots) free_slot(slot);
  CHECK_FALSE(is_in_slot(&slots));
  CHECK_FALSE(is_in_slot(nullptr));
}
