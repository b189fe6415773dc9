#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir {

// Open log files of one process, by full path. The master opens them (append, 0644, O_CLOEXEC) and
// hands descriptors to workers; reopen_all() and put() (USR1) replace the descriptors in place.
// Survives reloads: a path that both generations use keeps its descriptor.
class LogTable {
 public:
  // Tells buffered sinks to write what they hold, before descriptors change or the process ends.
  class Listener {
   public:
    virtual void before_change() = 0;

   protected:
    ~Listener() = default;
  };

  LogTable() = default;
  LogTable(const LogTable&) = delete;
  LogTable& operator=(const LogTable&) = delete;
  ~LogTable();

  // -1 when not open. "stderr" is 2.
  int descriptor(std::string_view path) const;
  bool has(std::string_view path) const { return descriptor(path) >= 0; }
  void put(const std::string& path, int descriptor);  // takes it; closes the one it replaces
  // Opens here (the master, programs that run as one process, tests); nothing to do when it is open
  // already. 0 or errno.
  int open(const std::string& path);
  void close(const std::string& path);
  // Opens every path anew; one that cannot be opened keeps its old descriptor. 0 or the last errno.
  int reopen_all();
  void for_each(const std::function<void(const std::string& path, int descriptor)>& visit) const;
  // Sinks register while they live.
  void add_listener(Listener* listener) { listeners_.push_back(listener); }
  void remove_listener(Listener* listener);
  void before_change();

  // How files of this table are opened: descriptor or -errno.
  static int open_file(const std::string& path);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int, Hash, std::equal_to<>> files_;
  std::vector<Listener*> listeners_;
};

}  // namespace weir
