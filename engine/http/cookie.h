#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/http/message.h"

namespace weir::http {

// The value of a cookie of the client's, by nginx's rules: names in any case, pieces parted by ';'
// or ','.
std::optional<std::string_view> find_cookie(const HeaderList& headers, std::string_view name);

// "Thu, 31-Dec-37 23:55:55 GMT": years that old clients understand have two digits.
std::string cookie_date(int64_t seconds);

}  // namespace weir::http
