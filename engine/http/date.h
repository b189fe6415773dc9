#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string_view>

namespace weir::http {

constexpr size_t kDateSize = 29;  // "Sun, 06 Nov 1994 08:49:37 GMT"

// IMF-fixdate (RFC 9110 section 5.6.7) into kDateSize bytes, without a final NUL.
void format_date(time_t when, char* to);
// The same from a cache of this thread: one formatting a second. Valid until the next call with
// another time: copy it.
std::string_view cached_date(time_t now);
// The three formats of RFC 9110 section 5.6.7. Nothing when the text is none of them.
std::optional<time_t> parse_date(std::string_view text);

}  // namespace weir::http
