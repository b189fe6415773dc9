#include "engine/base/arena.h"

#include "engine/base/free_list.h"

namespace weir {
namespace {

constexpr size_t kBlockSize = 2048;
constexpr size_t kBlocksKept = 1024;  // 2 MB a thread

constinit thread_local FreeList free_blocks;

thread_local FreeListKeeper keeper(std::span(&free_blocks, 1));

void* take_block() {
  if (void* memory = free_blocks.pop()) return memory;
  keeper.arm();
  return allocate_piece(kBlockSize);
}

}  // namespace

struct alignas(std::max_align_t) Arena::Block {
  Block* next;
  size_t size;  // with this header; kBlockSize for those of the free list
  char* data() { return reinterpret_cast<char*>(this + 1); }
};

struct Arena::Cleanup {
  Cleanup* next;
  void* object;
  void (*run)(void*);
};

void* Arena::allocate_slow(size_t size, size_t alignment) {
  constexpr size_t kPayload = kBlockSize - sizeof(Block);
  size_t slack = alignment > alignof(Block) ? alignment : 0;
  if (size > SIZE_MAX / 2) throw std::bad_alloc();
  if (size + slack > kPayload / 2) {
    // A block of its own, behind the current one, which goes on being filled.
    size_t whole = sizeof(Block) + size + slack;
    auto* block = new (allocate_piece(whole)) Block{nullptr, whole};
    Block*& place = blocks_ != nullptr ? blocks_->next : blocks_;
    block->next = place;
    place = block;
    held_ += whole;
    auto at = (reinterpret_cast<uintptr_t>(block->data()) + alignment - 1) & ~(alignment - 1);
    return reinterpret_cast<void*>(at);
  }
  auto* block = new (take_block()) Block{blocks_, kBlockSize};
  blocks_ = block;
  held_ += kBlockSize;
  next_ = block->data();
  end_ = reinterpret_cast<char*>(block) + kBlockSize;
  return allocate(size, alignment);
}

char* Arena::grow(char* at, size_t old_size, size_t new_size) {
  if (new_size <= old_size) return at;
  if (next_ != nullptr && at + old_size == next_ &&
      new_size - old_size <= static_cast<size_t>(end_ - next_)) {
    next_ += new_size - old_size;
    return at;
  }
  // The newest block of its own stands second (or first when there is no other): it can be
  // stretched, so a long text built in one pass does not leave all its halves behind.
  Block** place = blocks_ != nullptr && blocks_->data() == at ? &blocks_ : nullptr;
  if (place == nullptr && blocks_ != nullptr && blocks_->next != nullptr &&
      blocks_->next->data() == at) {
    place = &blocks_->next;
  }
  if (place != nullptr && (*place)->size == sizeof(Block) + old_size && old_size > kBlockSize) {
    if (new_size > SIZE_MAX / 2) throw std::bad_alloc();
    auto* block = static_cast<Block*>(std::realloc(*place, sizeof(Block) + new_size));
    if (block == nullptr) throw std::bad_alloc();
    held_ += new_size - old_size;
    block->size = sizeof(Block) + new_size;
    *place = block;
    return block->data();
  }
  char* to = text(new_size);
  if (old_size != 0) std::memcpy(to, at, old_size);
  return to;
}

void Arena::on_reset(void* object, void (*cleanup)(void*)) {
  cleanups_ = new (allocate(sizeof(Cleanup), alignof(Cleanup))) Cleanup{cleanups_, object, cleanup};
}

void Arena::reset() {
  while (cleanups_ != nullptr) {
    Cleanup* cleanup = cleanups_;
    cleanups_ = cleanup->next;
    cleanup->run(cleanup->object);
  }
  while (blocks_ != nullptr) {
    Block* block = blocks_;
    blocks_ = block->next;
    if (block->size != kBlockSize || !free_blocks.push(block, kBlocksKept)) std::free(block);
  }
  next_ = nullptr;
  end_ = nullptr;
  held_ = 0;
}

}  // namespace weir
