#pragma once

#include <cstddef>
#include <string_view>

namespace weir::process {

// A file in memory that processes hand each other by descriptor (memfd). The descriptor is owned.
class MemoryFile {
 public:
  MemoryFile() = default;
  explicit MemoryFile(int descriptor) : descriptor_(descriptor) {}
  MemoryFile(MemoryFile&& other) noexcept;
  MemoryFile& operator=(MemoryFile&& other) noexcept;
  ~MemoryFile() { close(); }

  // Empty and writable; is_open() is false when the kernel gives none.
  static MemoryFile create(const char* name);
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  // Forgets the descriptor without closing it.
  int release();
  void close();

  // 0 or an errno.
  int write_all(std::string_view bytes);
  // Nobody can change it any more, by any descriptor.
  int seal();

 private:
  int descriptor_ = -1;
};

// Its bytes, while this lives.
class MemoryMap {
 public:
  explicit MemoryMap(const MemoryFile& file);
  MemoryMap(const MemoryMap&) = delete;
  MemoryMap& operator=(const MemoryMap&) = delete;
  ~MemoryMap();
  std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace weir::process
