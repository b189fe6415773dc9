#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir {

// MD5 (RFC 1321): for names that others compute too, never for secrets.
using Md5Digest = std::array<uint8_t, 16>;
Md5Digest md5(std::string_view text);
// In lower case hexadecimal, 32 characters.
std::string hexadecimal(const Md5Digest& digest);

}  // namespace weir
