#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weir {

// Open log files of one process, by full path. The master opens them (append, 0644, O_CLOEXEC) and
// hands descriptors to workers; reopen() (USR1) replaces the descriptors in place. Survives
// reloads: a path that both generations use keeps its descriptor.
class LogTable {
 public:
  // -1 when not open. "stderr" is 2.
  int descriptor(std::string_view path) const;
  void put(const std::string& path, int descriptor);  // takes it; closes the one it replaces
  // Opens here (programs that run as one process, and tests). 0 or errno.
  int open(const std::string& path);
  int reopen_all();
  void for_each(const std::function<void(const std::string& path, int descriptor)>& visit) const;
  // Called before descriptors change or the process ends, so that buffered sinks write what they
  // hold.
  ~LogTable();

 private:
  std::unordered_map<std::string, int> files_;
};

}  // namespace weir
