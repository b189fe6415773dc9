#include "engine/http/date.h"

#include <cstring>

namespace weir::http {
namespace {

constexpr char kDays[] = "SunMonTueWedThuFriSat";
constexpr char kMonths[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void two_digits(char* to, int value) {
  to[0] = static_cast<char>('0' + value / 10);
  to[1] = static_cast<char>('0' + value % 10);
}

// Days from 1970-01-01 in the proleptic Gregorian calendar.
int64_t days_from_civil(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t year_of_era = year - era * 400;
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool leap(int year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

struct Reader {
  std::string_view text;
  bool ok = true;

  void literal(std::string_view expected) {
    if (text.substr(0, expected.size()) != expected) {
      ok = false;
      return;
    }
    text.remove_prefix(expected.size());
  }
  int number(size_t digits, bool space_pads = false) {
    if (text.size() < digits) {
      ok = false;
      return 0;
    }
    int value = 0;
    for (size_t i = 0; i < digits; ++i) {
      char c = text[i];
      if (space_pads && i == 0 && c == ' ') continue;
      if (c < '0' || c > '9') ok = false;
      value = value * 10 + (c - '0');
    }
    text.remove_prefix(digits);
    return ok ? value : 0;
  }
  int month() {
    for (int i = 0; i < 12 && text.size() >= 3; ++i) {
      if (std::memcmp(text.data(), kMonths + 3 * i, 3) == 0) {
        text.remove_prefix(3);
        return i + 1;
      }
    }
    ok = false;
    return 1;
  }
};

struct Fields {
  int year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0;
};

void read_time(Reader& reader, Fields& fields) {
  fields.hour = reader.number(2);
  reader.literal(":");
  fields.minute = reader.number(2);
  reader.literal(":");
  fields.second = reader.number(2);
}

// "06 Nov 1994 08:49:37 GMT" or "06-Nov-94 08:49:37 GMT", after the weekday and its comma.
void read_day_first(Reader& reader, Fields& fields) {
  fields.day = reader.number(2);
  bool obsolete = !reader.text.empty() && reader.text.front() == '-';
  std::string_view separator = obsolete ? "-" : " ";
  reader.literal(separator);
  fields.month = reader.month();
  reader.literal(separator);
  if (obsolete) {
    int year = reader.number(2);
    fields.year = year < 70 ? 2000 + year : 1900 + year;
  } else {
    fields.year = reader.number(4);
  }
  reader.literal(" ");
  read_time(reader, fields);
  reader.literal(" GMT");
}

}  // namespace

void format_date(time_t when, char* to) {
  tm parts{};
  gmtime_r(&when, &parts);
  std::memcpy(to, "Thu, 01 Jan 1970 00:00:00 GMT", kDateSize);
  std::memcpy(to, kDays + 3 * parts.tm_wday, 3);
  two_digits(to + 5, parts.tm_mday);
  std::memcpy(to + 8, kMonths + 3 * parts.tm_mon, 3);
  int year = parts.tm_year + 1900;
  if (year < 0 || year > 9999) year = 9999;
  two_digits(to + 12, year / 100);
  two_digits(to + 14, year % 100);
  two_digits(to + 17, parts.tm_hour);
  two_digits(to + 20, parts.tm_min);
  two_digits(to + 23, parts.tm_sec);
}

std::string_view cached_date(time_t now) {
  static thread_local time_t cached = -1;
  static thread_local char text[kDateSize];
  if (now != cached) {
    format_date(now, text);
    cached = now;
  }
  return {text, kDateSize};
}

std::optional<time_t> parse_date(std::string_view text) {
  size_t comma = text.find(',');
  Fields fields;
  Reader reader{text};
  if (comma != std::string_view::npos) {
    reader.text.remove_prefix(comma + 1);
    while (!reader.text.empty() && reader.text.front() == ' ') reader.text.remove_prefix(1);
    read_day_first(reader, fields);
  } else {
    // asctime: "Sun Nov  6 08:49:37 1994"
    if (text.size() < 4) return std::nullopt;
    reader.text.remove_prefix(3);
    reader.literal(" ");
    fields.month = reader.month();
    reader.literal(" ");
    fields.day = reader.number(2, true);
    reader.literal(" ");
    read_time(reader, fields);
    reader.literal(" ");
    fields.year = reader.number(4);
  }
  if (!reader.ok || fields.hour > 23 || fields.minute > 59 || fields.second > 60)
    return std::nullopt;
  static constexpr int kLengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (fields.day < 1 || fields.day > kLengths[fields.month - 1]) return std::nullopt;
  if (fields.month == 2 && fields.day == 29 && !leap(fields.year)) return std::nullopt;
  return static_cast<time_t>(days_from_civil(fields.year, fields.month, fields.day) * 86400 +
                             fields.hour * 3600 + fields.minute * 60 + fields.second);
}

}  // namespace weir::http
