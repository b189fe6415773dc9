#include "engine/process/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace weir::process {

MemoryFile::MemoryFile(MemoryFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

MemoryFile& MemoryFile::operator=(MemoryFile&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

MemoryFile MemoryFile::create(const char* name) {
  return MemoryFile(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

int MemoryFile::release() {
  return std::exchange(descriptor_, -1);
}

void MemoryFile::close() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
}

int MemoryFile::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

int MemoryFile::seal() {
  const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return fcntl(descriptor_, F_ADD_SEALS, seals) == 0 ? 0 : errno;
}

MemoryMap::MemoryMap(const MemoryFile& file) {
  struct stat facts{};
  if (fstat(file.descriptor(), &facts) != 0 || facts.st_size <= 0) return;
  const auto size = static_cast<size_t>(facts.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (data == MAP_FAILED) return;
  data_ = static_cast<const char*>(data);
  size_ = size;
}

MemoryMap::~MemoryMap() {
  if (data_) munmap(const_cast<char*>(data_), size_);
}

}  // namespace weir::process
