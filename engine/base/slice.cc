#include "engine/base/slice.h"

#include <unistd.h>

#include <cassert>
#include <cstring>

#include "engine/base/free_list.h"

namespace weir {
namespace {

constexpr size_t kBlocksKept = 64;  // 2 MB a thread
constexpr size_t kCompactFrom = 32;
constexpr size_t kFirstSlices = 3;  // head, body, end

constinit thread_local FreeList free_blocks;

thread_local FreeListKeeper keeper(std::span(&free_blocks, 1));

}  // namespace

Ref<Block> Block::take(size_t capacity) {
  if (capacity > UINT32_MAX) throw std::bad_alloc();
  if (capacity != kBlockSize) {
    return Ref<Block>(new (allocate_pooled(sizeof(Block) + capacity)) Block(capacity));
  }
  void* memory = free_blocks.pop();
  if (memory == nullptr) {
    keeper.arm();
    memory = allocate_piece(sizeof(Block) + capacity);
  }
  return Ref<Block>(new (memory) Block(capacity));
}

void Block::operator delete(Block* block, std::destroying_delete_t) {
  size_t capacity = block->capacity_;
  block->~Block();
  if (capacity != kBlockSize) {
    free_pooled(block, sizeof(Block) + capacity);
  } else if (!free_blocks.push(block, kBlocksKept)) {
    std::free(block);
  }
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Slice Slice::copy_of(std::string_view text) {
  if (text.empty()) return {};
  Ref<Block> block = Block::take(text.size());
  std::memcpy(block->data(), text.data(), text.size());
  const char* data = block->data();
  return Slice(std::move(block), data, text.size());
}

Slice Slice::file_range(Ref<File> file, off_t offset, size_t size) {
  Slice slice;
  slice.file_ = std::move(file);
  slice.offset_ = offset;
  slice.size_ = size;
  return slice;
}

Slice Slice::sub(size_t from, size_t count) const {
  assert(from <= size_ && count <= size_ - from);
  Slice part = *this;
  part.remove_prefix(from);
  part.size_ = count;
  return part;
}

bool Slice::continued_by(const Slice& next) const {
  if (file_) {
    return file_.get() == next.file_.get() && offset_ + static_cast<off_t>(size_) == next.offset_;
  }
  // Borrowed texts too: two neighbours in one arena are one piece of memory.
  return !next.file_ && block_.get() == next.block_.get() && data_ + size_ == next.data_;
}

void Chain::push(Slice slice) {
  if (slice.empty()) return;
  const bool first = empty();
  bytes_ += slice.size();
  if (!first && slices_.back().continued_by(slice)) {
    slices_.back().size_ += slice.size();
    return;
  }
  if (head_ >= kCompactFrom && head_ * 2 >= slices_.size()) {
    slices_.erase(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
  if (slices_.capacity() == 0) slices_.reserve(kFirstSlices);
  slices_.push_back(std::move(slice));
}

void Chain::append(Chain&& other) {
  if (&other == this) return;
  if (empty()) {
    clear();
    std::swap(slices_, other.slices_);
    std::swap(head_, other.head_);
    std::swap(bytes_, other.bytes_);
    return;
  }
  for (size_t i = other.head_; i < other.slices_.size(); ++i) push(std::move(other.slices_[i]));
  other.clear();
}

Slice Chain::take_front() {
  assert(!empty());
  Slice slice = std::move(slices_[head_]);
  bytes_ -= slice.size();
  if (++head_ == slices_.size()) clear();
  return slice;
}

void Chain::consume_part(size_t count) {
  assert(count <= bytes_);
  while (count > 0 && !empty()) {
    Slice& first = slices_[head_];
    if (count < first.size()) {
      first.remove_prefix(count);
      bytes_ -= count;
      return;
    }
    count -= first.size();
    take_front();
  }
}

size_t Chain::vectors(struct iovec* out, size_t limit) const {
  size_t filled = 0;
  for (size_t i = head_; i < slices_.size() && filled < limit && !slices_[i].is_file(); ++i) {
    out[filled++] = {const_cast<char*>(slices_[i].data()), slices_[i].size()};
  }
  return filled;
}

void Chain::release_memory() {
  if (empty()) {
    decltype(slices_)().swap(slices_);
    head_ = 0;
    return;
  }
  slices_.erase(slices_.begin(), slices_.begin() + static_cast<ptrdiff_t>(head_));
  head_ = 0;
  slices_.shrink_to_fit();
}

}  // namespace weir
