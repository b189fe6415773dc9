#pragma once

#include <cstdint>
#include <string_view>

namespace weir::clock_text {

// The texts of one second, made once a second and thread: cheap to ask for with every line. Views
// are valid until the next call with another second on this thread.
std::string_view error_log(int64_t wall_milliseconds);  // "2026/11/21 12:00:00"
std::string_view local(int64_t wall_milliseconds);      // $time_local "21/Nov/2026:12:00:00 +0000"
std::string_view iso8601(int64_t wall_milliseconds);    // "2026-11-21T12:00:00+00:00"
std::string_view http_date(int64_t wall_milliseconds);  // "Sat, 21 Nov 2026 12:00:00 GMT"
std::string_view syslog(int64_t wall_milliseconds);     // "Nov 21 12:00:00", day padded by a space

// The wall clock, for programs without a loop (the master, tests).
int64_t now_milliseconds();

}  // namespace weir::clock_text
