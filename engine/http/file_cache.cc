#include "engine/http/file_cache.h"

namespace weir::http {

namespace {

constexpr int kExpiredAtOnce = 2;  // no request pays for many

}  // namespace

FileCache::Entry* FileCache::find(std::string_view path, uint64_t now) {
  expire(now);
  const auto found = by_path_.find(path);
  if (found == by_path_.end()) return nullptr;
  const auto entry = found->second;
  entries_.splice(entries_.begin(), entries_, entry);
  entry->accessed = now;
  ++entry->uses;
  return &*entry;
}

bool FileCache::is_fresh(const Entry& entry, const FileCacheRules& rules, uint64_t now) {
  if (now - entry.checked >= rules.valid) return false;
  if (entry.error != 0) return rules.errors;
  return entry.file || S_ISDIR(entry.info.st_mode);
}

FileCache::Entry& FileCache::add(std::string_view path, uint64_t now) {
  if (entries_.size() >= max_) remove(entries_.back());
  Entry& entry = entries_.emplace_front();
  entry.path = path;
  entry.accessed = now;
  entry.uses = 1;
  by_path_.emplace(entry.path, entries_.begin());
  return entry;
}

void FileCache::remove(const Entry& entry) {
  const auto found = by_path_.find(entry.path);
  const auto position = found->second;
  by_path_.erase(found);
  entries_.erase(position);
}

void FileCache::expire(uint64_t now) {
  for (int i = 0; i < kExpiredAtOnce && !entries_.empty(); ++i) {
    if (now - entries_.back().accessed <= inactive_) return;
    remove(entries_.back());
  }
}

}  // namespace weir::http
