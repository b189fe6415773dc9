#pragma once

#include <span>

#include "confparse/schema.h"
#include "engine/process/memory_file.h"
#include "engine/process/plan.h"
#include "engine/process/process_log.h"
#include "engine/process/resources.h"

namespace weir::process {

// master_process off: one process opens, serves and reloads (for small boxes). It keeps its user,
// as nginx does. Returns the exit code.
int run_single(std::span<const conf::Module* const> modules, const Locations& locations,
               ProcessLog& log, MemoryFile plan_file, const Plan& plan, OpenedResources resources);

}  // namespace weir::process
