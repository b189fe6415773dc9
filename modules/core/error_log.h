#pragma once

#include "confparse/compiler.h"
#include "engine/log/error_log.h"

namespace weir {

// Reads one `error_log` statement (main, http, server, location; stream) and appends its target to
// `out`; asks for the file in the ResourceList. Reports nginx's errors; false after one.
bool read_error_log(conf::Compiler& compiler, const conf::Statement& statement,
                    ErrorLogTargets& out);

}  // namespace weir
