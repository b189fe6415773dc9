#pragma once

#include <sys/types.h>

#include <cstdint>

#include "engine/process/process_log.h"
#include "engine/process/settings.h"

namespace weir::process {

// In a new worker process, before its loop is made: limits, priority, user and group, affinity,
// folder, environment. False after logging why it cannot serve (nginx: the worker exits with 2 and
// is not forked again).
bool become_worker(const CoreSettings& core, uint32_t slot, ProcessLog& log);

// From the master, for a running worker: what can be changed from outside (open files, priority,
// affinity). False when the system does not allow it: the worker must be replaced. `open_files` is
// the limit that the worker has, and is kept up to date: asking the system for it takes
// CAP_SYS_RESOURCE, which containers lack.
bool adjust_worker(pid_t worker, const CoreSettings& core, uint32_t slot, int64_t& open_files,
                   ProcessLog& log);

// True when running workers cannot take the new settings over: they must be replaced.
bool needs_new_workers(const CoreSettings& running, const CoreSettings& wanted);

}  // namespace weir::process
