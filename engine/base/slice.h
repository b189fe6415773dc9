#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/ref.h"
#include "engine/base/pooled.h"

namespace weir {

// A block of body bytes from the worker's pool, counted by the slices that view it. Blocks of
// kBlockSize go back to a thread-local free list, small ones to those of allocate_pooled().
class Block {
 public:
  static constexpr size_t kBlockSize = 32 * 1024;  // never 64 KB: see docs/decisions
  static Ref<Block> take(size_t capacity = kBlockSize);
  char* data() { return reinterpret_cast<char*>(this + 1); }
  size_t capacity() const { return capacity_; }
  void add_reference() const { ++references_; }
  bool drop_reference() const { return --references_ == 0; }
  uint32_t reference_count() const { return references_; }
  // Returns to the free list instead of freeing (a destroying delete: it has to read the capacity).
  static void operator delete(Block* block, std::destroying_delete_t);

 private:
  explicit Block(size_t capacity) : capacity_(static_cast<uint32_t>(capacity)) {}
  mutable uint32_t references_ = 0;
  uint32_t capacity_;
};

// An open file that slices refer to; closed with its last reference.
class File : public RefCounted {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  virtual ~File();
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// A piece of a body or head: bytes in a block (owned by count), bytes that somebody else keeps
// alive until they are written (arena or static text: the exchange outlives its output), or a range
// of a file.
class Slice {
 public:
  Slice() = default;
  Slice(Ref<Block> owner, const char* data, size_t size)
      : data_(data), size_(size), block_(std::move(owner)) {}
  static Slice borrowed(std::string_view text) {
    return Slice(Ref<Block>(), text.data(), text.size());
  }
  static Slice copy_of(std::string_view text);  // into one block of just that size
  static Slice file_range(Ref<File> file, off_t offset, size_t size);

  bool is_file() const { return static_cast<bool>(file_); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const char* data() const { return data_; }  // memory slices only
  std::string_view view() const { return {data_, size_}; }
  const Ref<File>& file() const { return file_; }
  off_t offset() const { return offset_; }
  const Ref<Block>& block() const { return block_; }
  void remove_prefix(size_t count) {
    size_ -= count;
    if (file_) {
      offset_ += static_cast<off_t>(count);
    } else {
      data_ += count;
    }
  }
  // from + count <= size().
  Slice sub(size_t from, size_t count) const;

 private:
  friend class Chain;
  bool continued_by(const Slice& next) const;
  const char* data_ = nullptr;
  size_t size_ = 0;
  off_t offset_ = 0;
  Ref<Block> block_;
  Ref<File> file_;
};

// A queue of slices: what waits to be written or consumed.
class Chain {
 public:
  Chain() = default;
  Chain(const Chain&) = default;
  Chain& operator=(const Chain&) = default;
  // What was moved from is empty.
  Chain(Chain&& other) noexcept
      : slices_(std::move(other.slices_)),
        head_(std::exchange(other.head_, 0)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Chain& operator=(Chain&& other) noexcept {
    slices_ = std::move(other.slices_);
    head_ = std::exchange(other.head_, 0);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  // An empty slice is dropped; one that continues the last (same block or file) is merged into it.
  void push(Slice slice);
  void append(Chain&& other);
  bool empty() const { return bytes_ == 0; }  // (no slice in it is empty)
  size_t bytes() const { return bytes_; }
  size_t count() const { return slices_.size() - head_; }
  Slice& front() { return slices_[head_]; }
  const Slice& operator[](size_t index) const { return slices_[head_ + index]; }
  Slice take_front();
  // Drops the first `count` bytes; count <= bytes().
  void consume(size_t count) {
    if (count == bytes_) {
      clear();
    } else {
      consume_part(count);
    }
  }
  void clear() {
    slices_.clear();
    head_ = 0;
    bytes_ = 0;
  }
  // Fills iovecs with the memory slices up to the first file slice; returns how many.
  size_t vectors(struct iovec* out, size_t limit) const;
  // Gives the vector's memory back (called when a connection goes idle).
  void release() {
    if (slices_.capacity() != 0) release_memory();
  }

 private:
  void consume_part(size_t count);
  void release_memory();
  std::vector<Slice, PooledAllocator<Slice>> slices_;
  size_t head_ = 0;
  size_t bytes_ = 0;
};

}  // namespace weir
