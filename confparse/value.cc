#include "confparse/value.h"

namespace weir::conf {

namespace {

bool multiply(int64_t& value, int64_t by) {
  return !__builtin_mul_overflow(value, by, &value);
}
bool add(int64_t& value, int64_t more) {
  return !__builtin_add_overflow(value, more, &value);
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::optional<int64_t> parse_base(std::string_view text, int base) {
  if (text.empty()) return {};
  int64_t value = 0;
  for (const char c : text) {
    int digit = 0;
    if (is_digit(c)) {
      digit = c - '0';
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = (c | 0x20) - 'a' + 10;
    } else {
      return {};
    }
    if (digit >= base || !multiply(value, base) || !add(value, digit)) return {};
  }
  return value;
}

std::optional<int64_t> parse_scaled(std::string_view text, bool giga) {
  int64_t scale = 1;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
      case 'K':
        scale = 1024;
        break;
      case 'm':
      case 'M':
        scale = 1024 * 1024;
        break;
      case 'g':
      case 'G':
        if (giga) scale = 1024 * 1024 * 1024;
        break;
      default:
        break;
    }
  }
  if (scale > 1) text.remove_suffix(1);
  auto value = parse_base(text, 10);
  if (!value || !multiply(*value, scale)) return {};
  return value;
}

// Units of time from the largest to the smallest, in seconds (0: milliseconds).
struct Unit {
  std::string_view name;
  int64_t seconds;
};
constexpr Unit kUnits[] = {{"y", 365 * 86400}, {"M", 30 * 86400}, {"w", 7 * 86400}, {"d", 86400},
                           {"h", 3600},        {"m", 60},         {"s", 1},         {"ms", 0}};
constexpr size_t kSecondUnit = 6;
constexpr size_t kMillisecondUnit = 7;
constexpr size_t kBareNumber = 8;  // what follows a bare number: only another bare number

// The unit at the front of `text`, which is cut off; kBareNumber when there is none.
size_t take_unit(std::string_view& text) {
  if (text.starts_with("ms")) {
    text.remove_prefix(2);
    return kMillisecondUnit;
  }
  for (size_t unit = 0; unit < kMillisecondUnit; ++unit) {
    if (!text.starts_with(kUnits[unit].name)) continue;
    text.remove_prefix(1);
    return unit;
  }
  return kBareNumber;
}

void skip_spaces(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
}

// One bare number is allowed after a larger unit than seconds, or after seconds at the very end,
// and it means seconds. nginx takes spaces after a unit, and a space as the end of a bare number.
std::optional<int64_t> parse_time(std::string_view text, bool milliseconds) {
  const int64_t per_second = milliseconds ? 1000 : 1;
  size_t next_unit = milliseconds ? 2 : 0;  // the largest unit that may still come
  int64_t total = 0;
  bool seen_digit = false;
  while (!text.empty()) {
    int64_t value = 0;
    while (!text.empty() && is_digit(text.front())) {
      if (!multiply(value, 10) || !add(value, text.front() - '0')) return {};
      text.remove_prefix(1);
      seen_digit = true;
    }
    if (text.empty()) {
      if (!multiply(value, per_second) || !add(total, value)) return {};
      return seen_digit ? std::optional(total) : std::nullopt;
    }
    if (text.front() == ' ') {
      if (next_unit > kSecondUnit) return {};
      next_unit = kBareNumber + 1;
      text.remove_prefix(1);
      if (!multiply(value, per_second)) return {};
    } else {
      const size_t unit = take_unit(text);
      if (unit == kBareNumber || unit < next_unit) return {};
      if (unit == kMillisecondUnit && !milliseconds) return {};
      next_unit = unit + 1;
      if (unit != kMillisecondUnit && !multiply(value, kUnits[unit].seconds * per_second))
        return {};
    }
    if (!add(total, value)) return {};
    skip_spaces(text);
  }
  if (!seen_digit) return {};
  return total;
}

}  // namespace

std::optional<int64_t> parse_number(std::string_view text) {
  return parse_base(text, 10);
}
std::optional<int64_t> parse_hexadecimal(std::string_view text) {
  return parse_base(text, 16);
}
std::optional<int64_t> parse_octal(std::string_view text) {
  return parse_base(text, 8);
}

std::optional<int64_t> parse_fixed(std::string_view text, unsigned digits) {
  if (text.empty()) return {};
  int64_t value = 0;
  bool point = false;
  for (const char c : text) {
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (!is_digit(c) || (point && digits == 0)) return {};
    if (point) --digits;
    if (!multiply(value, 10) || !add(value, c - '0')) return {};
  }
  while (digits-- > 0) {
    if (!multiply(value, 10)) return {};
  }
  return value;
}

std::optional<size_t> parse_size(std::string_view text) {
  const auto value = parse_scaled(text, false);
  if (!value) return {};
  return static_cast<size_t>(*value);
}

std::optional<int64_t> parse_offset(std::string_view text) {
  return parse_scaled(text, true);
}
std::optional<int64_t> parse_milliseconds(std::string_view text) {
  return parse_time(text, true);
}
std::optional<int64_t> parse_seconds(std::string_view text) {
  return parse_time(text, false);
}

std::optional<bool> parse_flag(std::string_view text) {
  if (equal_without_case(text, "on")) return true;
  if (equal_without_case(text, "off")) return false;
  return {};
}

bool equal_without_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto lower = [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return result;
}

}  // namespace weir::conf
