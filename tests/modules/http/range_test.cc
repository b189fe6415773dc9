#include "modules/http/range.h"

#include <catch2/catch.hpp>

using namespace weir::http;

namespace {

constexpr int64_t kNoLimit = INT64_MAX;

// "a-b c-d" with the last byte included, or what is done instead.
std::string ranges(std::string_view field, int64_t length, int64_t most = kNoLimit) {
  std::vector<Range> found;
  switch (parse_ranges(field, length, most, false, found)) {
    case ParsedRanges::ignore:
      return "ignore";
    case ParsedRanges::unsatisfiable:
      return "416";
    case ParsedRanges::ranges:
      break;
  }
  std::string text;
  for (const Range& range : found) {
    if (!text.empty()) text += ' ';
    text += std::to_string(range.begin) + "-" + std::to_string(range.end - 1);
  }
  return text;
}

}  // namespace

TEST_CASE("ranges: what is cut out of a body") {
  CHECK(ranges("bytes=0-0", 10) == "0-0");
  CHECK(ranges("bytes=2-5", 10) == "2-5");
  CHECK(ranges("bytes=2-", 10) == "2-9");
  CHECK(ranges("bytes=-3", 10) == "7-9");
  CHECK(ranges("bytes=-30", 10) == "0-9");
  CHECK(ranges("bytes=5-100", 10) == "5-9");
  CHECK(ranges("bytes= 1 - 2 , 4-4", 10) == "1-2 4-4");
  CHECK(ranges("bytes=0-1,100-", 10) == "0-1");
}

TEST_CASE("ranges: what cannot be satisfied, and what is not worth it") {
  CHECK(ranges("bytes=10-", 10) == "416");
  CHECK(ranges("bytes=5-2", 10) == "416");
  CHECK(ranges("bytes=-0", 10) == "416");
  CHECK(ranges("bytes=", 10) == "416");
  CHECK(ranges("bytes=,", 10) == "416");
  CHECK(ranges("bytes=x-1", 10) == "416");
  CHECK(ranges("bytes=1-2x", 10) == "416");
  CHECK(ranges("bytes=0-99999999999999999999", 10) == "416");
  CHECK(ranges("bytes=0-1", 0) == "ignore");
  CHECK(ranges("bytes=0-", 0) == "ignore");
  CHECK(ranges("bytes=0-1,3-4", 10, 1) == "ignore");
  CHECK(ranges("bytes=0-9,0-9", 10) == "ignore");
}
