#include "engine/log/log_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weir {

LogTable::~LogTable() {
  before_change();
  for (const auto& [path, descriptor] : files_) ::close(descriptor);
}

int LogTable::descriptor(std::string_view path) const {
  if (path == "stderr") return STDERR_FILENO;
  const auto found = files_.find(path);
  return found == files_.end() ? -1 : found->second;
}

void LogTable::put(const std::string& path, int descriptor) {
  before_change();
  const auto [at, added] = files_.try_emplace(path, descriptor);
  if (added) return;
  if (at->second != descriptor) ::close(at->second);
  at->second = descriptor;
}

int LogTable::open_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return descriptor < 0 ? -errno : descriptor;
}

int LogTable::open(const std::string& path) {
  if (has(path)) return 0;
  const int descriptor = open_file(path);
  if (descriptor < 0) return -descriptor;
  put(path, descriptor);
  return 0;
}

void LogTable::close(const std::string& path) {
  const auto found = files_.find(path);
  if (found == files_.end()) return;
  before_change();
  ::close(found->second);
  files_.erase(found);
}

int LogTable::reopen_all() {
  before_change();
  int error = 0;
  for (auto& [path, descriptor] : files_) {
    const int fresh = open_file(path);
    if (fresh < 0) {
      error = -fresh;
      continue;
    }
    ::close(descriptor);
    descriptor = fresh;
  }
  return error;
}

void LogTable::for_each(
    const std::function<void(const std::string& path, int descriptor)>& visit) const {
  for (const auto& [path, descriptor] : files_) visit(path, descriptor);
}

void LogTable::remove_listener(Listener* listener) {
  std::erase(listeners_, listener);
}

void LogTable::before_change() {
  for (Listener* listener : listeners_) listener->before_change();
}

}  // namespace weir
