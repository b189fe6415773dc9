#pragma once

#include <cstdint>
#include <string>

#include "confparse/ref.h"
#include "engine/base/slice.h"
#include "engine/http/core_settings.h"

namespace weir {
struct Worker;
}

namespace weir::http {

// A temporary file for the part of a response that neither the client nor memory can take. It has
// no name on disk once it is open, so nothing is left behind.
class Spool {
 public:
  // 0 or an errno. `path` (out) is the name it had.
  int open(Worker& worker, const TempPath& folder, std::string& path);
  bool is_open() const { return static_cast<bool>(file_); }
  // Appends all of `data` (memory slices or file ranges are not mixed: memory only). 0 or an errno.
  int write(Chain&& data);
  uint64_t waiting() const { return written_ - read_; }
  uint64_t size() const { return written_; }
  // At most `limit` bytes as a file range, in order.
  Slice take(size_t limit);

 private:
  Ref<File> file_;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
};

}  // namespace weir::http
