#pragma once

#include <string>
#include <vector>

#include "confparse/compiler.h"

namespace weir::shared {

// Reads `resolver`: name servers (none: the system's), valid=, ipv4=, ipv6=. `words` are for
// upstream::Resolver. `may_be_off`: http takes "off". False after reporting.
bool read_resolver(conf::Compiler& compiler, const conf::Statement& statement, bool may_be_off,
                   std::vector<std::string>& words);

}  // namespace weir::shared
