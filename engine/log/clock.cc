#include "engine/log/clock.h"

#include <cstdio>
#include <ctime>

namespace weir::clock_text {

namespace {

constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct Text {
  char bytes[40];
  size_t size = 0;
  std::string_view view() const { return {bytes, size}; }
  template <class... Args>
  void print(const char* format, Args... args) {
    const int written = std::snprintf(bytes, sizeof bytes, format, args...);
    size = written < 0 ? 0 : static_cast<size_t>(written);
    if (size >= sizeof bytes) size = sizeof bytes - 1;
  }
};

struct Texts {
  int64_t second = INT64_MIN;
  Text error_log, local, iso8601, http_date, syslog;

  void make(int64_t now) {
    second = now;
    const auto seconds = static_cast<time_t>(now);
    tm here{};
    localtime_r(&seconds, &here);
    const long zone = here.tm_gmtoff / 60;
    const char sign = zone < 0 ? '-' : '+';
    const int hours = static_cast<int>((zone < 0 ? -zone : zone) / 60);
    const int minutes = static_cast<int>((zone < 0 ? -zone : zone) % 60);
    const int year = here.tm_year + 1900;
    error_log.print("%4d/%02d/%02d %02d:%02d:%02d", year, here.tm_mon + 1, here.tm_mday,
                    here.tm_hour, here.tm_min, here.tm_sec);
    local.print("%02d/%s/%d:%02d:%02d:%02d %c%02d%02d", here.tm_mday, kMonths[here.tm_mon], year,
                here.tm_hour, here.tm_min, here.tm_sec, sign, hours, minutes);
    iso8601.print("%4d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", year, here.tm_mon + 1, here.tm_mday,
                  here.tm_hour, here.tm_min, here.tm_sec, sign, hours, minutes);
    syslog.print("%s %2d %02d:%02d:%02d", kMonths[here.tm_mon], here.tm_mday, here.tm_hour,
                 here.tm_min, here.tm_sec);
    tm utc{};
    gmtime_r(&seconds, &utc);
    http_date.print("%s, %02d %s %4d %02d:%02d:%02d GMT", kDays[utc.tm_wday], utc.tm_mday,
                    kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  }
};

const Texts& texts(int64_t wall_milliseconds) {
  thread_local Texts cached;
  const int64_t second = wall_milliseconds / 1000;
  if (cached.second != second) cached.make(second);
  return cached;
}

}  // namespace

std::string_view error_log(int64_t wall_milliseconds) {
  return texts(wall_milliseconds).error_log.view();
}
std::string_view local(int64_t wall_milliseconds) {
  return texts(wall_milliseconds).local.view();
}
std::string_view iso8601(int64_t wall_milliseconds) {
  return texts(wall_milliseconds).iso8601.view();
}
std::string_view http_date(int64_t wall_milliseconds) {
  return texts(wall_milliseconds).http_date.view();
}
std::string_view syslog(int64_t wall_milliseconds) {
  return texts(wall_milliseconds).syslog.view();
}

int64_t now_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

}  // namespace weir::clock_text
