#include "modules/shared/hash_size.h"

#include <set>

namespace weir::shared {

namespace {

// nginx rounds a bucket up to whole cache lines, and its size has 16 bits.
constexpr int64_t kCacheLine = 64;
constexpr int64_t kLargestBucket = 65536 - kCacheLine;

class Told final : public conf::CompilerState {
 public:
  std::set<std::string> tables;
};

}  // namespace

const char* const kHashSizeHelp =
    "no table can be made of this; leave the line out: tables size themselves";

std::string hash_size_problem(std::string_view table, int64_t max_size, int64_t bucket_size) {
  const std::string name(table);
  const std::string begin = "could not build " + name + ", ";
  if (max_size == 0) return begin + "you should increase " + name + "_max_size: 0";
  if (bucket_size == 0) return begin + "you should increase " + name + "_bucket_size: 0";
  if (bucket_size <= kLargestBucket) return {};
  const int64_t rounded = bucket_size > INT64_MAX - kCacheLine
                              ? bucket_size
                              : (bucket_size + kCacheLine - 1) / kCacheLine * kCacheLine;
  return begin + "too large " + name + "_bucket_size: " + std::to_string(rounded);
}

void check_hash_size(conf::Compiler& compiler, std::string_view table, int64_t max_size,
                     int64_t bucket_size) {
  std::string text = hash_size_problem(table, max_size, bucket_size);
  if (text.empty()) return;
  if (!compiler.state<Told>().tables.emplace(table).second) return;
  compiler.error_without_place(std::move(text), Severity::emerg, kHashSizeHelp);
}

}  // namespace weir::shared
