#pragma once

#include <sys/types.h>

#include "engine/process/process_log.h"
#include "engine/process/resources.h"

namespace weir::process {

// Binary upgrade, as nginx does it: the running master starts the program anew (which may be
// another build by now) and hands its listening sockets on by the environment variable NGINX,
// "4;5;9;". Both serve until somebody tells one of them to go.

// --- in the new process
// Was this process started by a running service to take over from it?
bool is_successor();
// The sockets that NGINX names, by address. Descriptors that are none are told and left out.
// Ends the inheritance: called once, before sockets are opened.
ListenerSet take_inherited_sockets(ProcessLog& log);

// --- in the old process
// Starts the program that this process was started as, with its words and environment. Its pid, or
// -errno.
pid_t start_new_binary(const ListenerSet& listeners, ProcessLog& log);

}  // namespace weir::process
