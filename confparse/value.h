#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weir::conf {

// Settings of these types are read by into<> with the parser of their kind (setters.h).
struct Milliseconds {
  int64_t value = 0;
  auto operator<=>(const Milliseconds&) const = default;
};
struct Seconds {
  int64_t value = 0;
  auto operator<=>(const Seconds&) const = default;
};
// A size in memory: k and m.
struct Bytes {
  size_t value = 0;
  auto operator<=>(const Bytes&) const = default;
};
// A size on disk or on the wire: k, m and g.
struct FileOffset {
  int64_t value = 0;
  auto operator<=>(const FileOffset&) const = default;
};
struct Number {
  int64_t value = 0;
  auto operator<=>(const Number&) const = default;
};
// "8 4k": number of buffers and size of each; neither is 0.
struct Buffers {
  size_t count = 0;
  size_t size = 0;
  auto operator<=>(const Buffers&) const = default;
};
// "user:rw group:r all:r" as file mode bits.
struct AccessMode {
  unsigned bits = 0;
  auto operator<=>(const AccessMode&) const = default;
};
// A folder for many files and the lengths (0 to 3 levels of 1 to 9999 characters, as nginx) of the
// subfolder names in it. The path is as written: Compiler::full_path makes it whole.
struct FolderTree {
  std::string path;
  size_t levels[3] = {0, 0, 0};
  bool operator==(const FolderTree&) const = default;
};
// Words of E (see EnumWords) combined.
template <class E>
struct Bitmask {
  uint32_t bits = 0;
  bool has(E word) const { return (bits & static_cast<uint32_t>(word)) != 0; }
  auto operator<=>(const Bitmask&) const = default;
};

// Specialise for an enum that a directive reads:
//   template <> struct weir::conf::EnumWords<IfModifiedSince> {
//     static constexpr std::pair<std::string_view, IfModifiedSince> words[] = {{"off", …}, …}; };
template <class E>
struct EnumWords;

// The parsers. Empty: the text is no such value (or one too large). Nothing is skipped and no sign
// is taken.
std::optional<int64_t> parse_number(std::string_view text);
// "1.25" with `digits` == 2 is 125: fixed point, as weights and rates are written.
std::optional<int64_t> parse_fixed(std::string_view text, unsigned digits);
std::optional<int64_t> parse_hexadecimal(std::string_view text);
std::optional<int64_t> parse_octal(std::string_view text);
std::optional<size_t> parse_size(std::string_view text);
std::optional<int64_t> parse_offset(std::string_view text);
// Units w d h m s ms, largest first, each at most once; a bare number at the end is seconds.
std::optional<int64_t> parse_milliseconds(std::string_view text);
// Units y M w d h m s.
std::optional<int64_t> parse_seconds(std::string_view text);
std::optional<bool> parse_flag(std::string_view text);

bool equal_without_case(std::string_view a, std::string_view b);
std::string lower_case(std::string_view text);
// Text up to a NUL, as nginx's %s prints it.
inline std::string_view until_nul(std::string_view text) {
  return text.substr(0, text.find('\0'));
}
// In double quotes, as messages name things.
inline std::string quoted(std::string_view text) {
  std::string result = "\"";
  result += text;
  result += '"';
  return result;
}

}  // namespace weir::conf
