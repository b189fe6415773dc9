#pragma once

#include <cstdint>

namespace weir {

// nginx's log levels; smaller is worse.
enum class Severity : uint8_t { stderr_only, emerg, alert, crit, error, warn, notice, info, debug };

}  // namespace weir
