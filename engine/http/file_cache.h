#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/base/slice.h"

namespace weir::http {

// open_file_cache: what is known of files by their path: open descriptors with size and time,
// folders, and errors. One for each place where the directive stands, in each worker; locations
// that inherit the directive share it. It ends with its configuration.
//
// Rules of the location that asks come with each call, so one cache serves several.
struct FileCacheRules {
  uint64_t valid = 60000;  // milliseconds until an entry is looked at again
  uint64_t min_uses = 1;   // within `inactive`, for a descriptor to stay open
  bool errors = false;
};

class FileCache {
 public:
  struct Entry {
    std::string path;  // and by which rule of disable_symlinks
    Ref<File> file;    // null: a folder, an error, or not used often enough
    struct stat info{};
    int error = 0;
    const char* call = "";
    uint64_t checked = 0;
    uint64_t accessed = 0;
    uint64_t uses = 0;
  };

  // `max`: most entries. `inactive`: milliseconds without use after which one goes.
  FileCache(size_t max, uint64_t inactive) : max_(max), inactive_(inactive) {}

  // What is known of `path`, if anything; counts as a use. Valid until the next call. It may be out
  // of date: see is_fresh.
  Entry* find(std::string_view path, uint64_t now);
  // May `entry` answer without a look at the disk?
  static bool is_fresh(const Entry& entry, const FileCacheRules& rules, uint64_t now);
  // A new entry, used once; the oldest goes when there are too many.
  Entry& add(std::string_view path, uint64_t now);
  void remove(const Entry& entry);

  size_t size() const { return entries_.size(); }

 private:
  using List = std::list<Entry>;  // used last comes first
  void expire(uint64_t now);

  List entries_;
  std::unordered_map<std::string_view, List::iterator> by_path_;
  size_t max_;
  uint64_t inactive_;
};

}  // namespace weir::http
