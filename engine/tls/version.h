#pragma once

#include <string>

namespace weir::tls {

// The library in use, for `-V`: "OpenSSL 3.0.17 1 Jul 2025".
std::string library_version();

}  // namespace weir::tls
