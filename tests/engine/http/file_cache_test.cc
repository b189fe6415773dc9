#include "engine/http/file_cache.h"

#include <fcntl.h>

#include <catch2/catch.hpp>

using weir::File;
using weir::make_ref;
using weir::http::FileCache;
using weir::http::FileCacheRules;

namespace {

FileCache::Entry& add_file(FileCache& cache, std::string_view path, uint64_t now) {
  FileCache::Entry& entry = cache.add(path, now);
  entry.file = make_ref<File>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  entry.info.st_mode = S_IFREG;
  entry.checked = now;
  return entry;
}

}  // namespace

TEST_CASE("file cache: the one that was used longest ago makes room") {
  FileCache cache(2, 60000);
  add_file(cache, "/a", 1);
  add_file(cache, "/b", 2);
  REQUIRE(cache.find("/a", 3) != nullptr);
  add_file(cache, "/c", 4);
  CHECK(cache.size() == 2);
  CHECK(cache.find("/b", 5) == nullptr);
  REQUIRE(cache.find("/a", 5) != nullptr);
  CHECK(cache.find("/a", 5)->uses == 4);
  CHECK(cache.find("/c", 5)->uses == 2);
}

TEST_CASE("file cache: what is not used goes, a few at a time") {
  FileCache cache(10, 1000);
  for (const char* path : {"/a", "/b", "/c", "/d"}) add_file(cache, path, 1);
  CHECK(cache.find("/d", 1001) != nullptr);
  CHECK(cache.size() == 4);
  CHECK(cache.find("/a", 1500) == nullptr);
  CHECK(cache.size() == 2);
  cache.find("/d", 1500);
  CHECK(cache.size() == 1);
}

TEST_CASE("file cache: what may answer without a look at the disk") {
  FileCache cache(10, 60000);
  FileCacheRules rules;
  rules.valid = 100;
  FileCache::Entry& file = add_file(cache, "/a", 1000);
  CHECK(FileCache::is_fresh(file, rules, 1099));
  CHECK_FALSE(FileCache::is_fresh(file, rules, 1100));
  FileCache::Entry& closed = cache.add("/b", 1000);
  closed.checked = 1000;
  closed.info.st_mode = S_IFREG;
  CHECK_FALSE(FileCache::is_fresh(closed, rules, 1000));
  closed.info.st_mode = S_IFDIR;
  CHECK(FileCache::is_fresh(closed, rules, 1000));
  closed.error = ENOENT;
  CHECK_FALSE(FileCache::is_fresh(closed, rules, 1000));
  rules.errors = true;
  CHECK(FileCache::is_fresh(closed, rules, 1000));
  cache.remove(closed);
  CHECK(cache.find("/b", 1000) == nullptr);
}
