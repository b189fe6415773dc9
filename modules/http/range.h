#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

// Byte ranges of a request (RFC 9110, section 14).
namespace weir::http {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;  // one past the last byte
};

enum class ParsedRanges : uint8_t {
  ranges,
  unsatisfiable,  // 416
  ignore,         // the whole body is the answer
};

// `field` begins with "bytes=" in any case. More than `most` ranges, ranges that are longer
// together than the body, and several where only one is possible are ignored, as nginx does.
ParsedRanges parse_ranges(std::string_view field, int64_t length, int64_t most, bool single,
                          std::vector<Range>& ranges);

}  // namespace weir::http
