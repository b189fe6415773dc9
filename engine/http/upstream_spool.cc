#include "engine/http/upstream_spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "engine/worker.h"

namespace weir::http {
namespace {

// nginx's naming: ten digits; each level takes as many digits as it says, from the end.
std::string file_path(const TempPath& folder, uint64_t number, std::string& last_folder) {
  char digits[24];
  std::snprintf(digits, sizeof digits, "%010llu", static_cast<unsigned long long>(number));
  const std::string name = digits;
  std::string path = folder.path;
  size_t end = name.size();
  for (const int level : folder.levels) {
    if (level <= 0 || static_cast<size_t>(level) > end) break;
    end -= static_cast<size_t>(level);
    path += "/" + name.substr(end, static_cast<size_t>(level));
  }
  last_folder = path;
  return path + "/" + name;
}

void make_folders(const std::string& base, const std::string& folder) {
  for (size_t at = base.size(); at != std::string::npos; at = folder.find('/', at + 1)) {
    if (at > 0) (void)::mkdir(folder.substr(0, at).c_str(), 0700);
    if (at >= folder.size()) break;
  }
  (void)::mkdir(folder.c_str(), 0700);
}

}  // namespace

int Spool::open(Worker& worker, const TempPath& folder, std::string& path) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string last_folder;
    const uint64_t number = worker.next_temp_file++ * 64 + worker.slot % 64;
    path = file_path(folder, number, last_folder);
    int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (descriptor < 0 && errno == ENOENT) {
      make_folders(folder.path, last_folder);
      descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    if (descriptor >= 0) {
      (void)::unlink(path.c_str());
      file_ = Ref<File>(new File(descriptor));
      return 0;
    }
    if (errno != EEXIST) return errno;
  }
  return EEXIST;
}

int Spool::write(Chain&& data) {
  // Everything was read back: the space is used again.
  if (read_ == written_ && file_->reference_count() == 1) read_ = written_ = 0;
  while (!data.empty()) {
    iovec vectors[64];
    const size_t count = data.vectors(vectors, 64);
    const ssize_t wrote = ::pwritev(file_->descriptor(), vectors, static_cast<int>(count),
                                    static_cast<off_t>(written_));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    written_ += static_cast<uint64_t>(wrote);
    data.consume(static_cast<size_t>(wrote));
  }
  return 0;
}

Slice Spool::take(size_t limit) {
  const size_t size = static_cast<size_t>(std::min<uint64_t>(limit, waiting()));
  Slice slice = Slice::file_range(file_, static_cast<off_t>(read_), size);
  read_ += size;
  return slice;
}

}  // namespace weir::http
