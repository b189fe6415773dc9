#include "engine/http/cookie.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "confparse/value.h"

namespace weir::http {
namespace {

void skip_blanks(std::string_view& text) {
  while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
}

// A name stands at the start or after ';' or ','; its value goes on to the next ';'.
std::optional<std::string_view> find_in_field(std::string_view rest, std::string_view name) {
  while (!rest.empty()) {
    if (rest.size() > name.size() && conf::equal_without_case(rest.substr(0, name.size()), name)) {
      rest.remove_prefix(name.size());
      skip_blanks(rest);
      if (rest.starts_with('=')) {
        rest.remove_prefix(1);
        skip_blanks(rest);
        return rest.substr(0, rest.find(';'));
      }
    }
    rest.remove_prefix(std::min(rest.find_first_of(";,"), rest.size() - 1) + 1);
    skip_blanks(rest);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> find_cookie(const HeaderList& headers, std::string_view name) {
  for (const Header& field : headers) {
    if (field.id != HeaderId::cookie) continue;
    if (auto value = find_in_field(field.value, name)) return value;
  }
  return std::nullopt;
}

std::string cookie_date(int64_t seconds) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto when = static_cast<time_t>(seconds);
  tm parts = {};
  gmtime_r(&when, &parts);
  const int64_t year = int64_t{parts.tm_year} + 1900;
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d-%s-%02lld %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon],
                static_cast<long long>(year > 2037 ? year : year % 100), parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text;
}

}  // namespace weir::http
