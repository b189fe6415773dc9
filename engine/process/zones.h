#pragma once

#include <vector>

#include "engine/process/process_log.h"
#include "engine/zone/request.h"

namespace weir::process {

// A shared memory zone as the master keeps it: it never looks inside.
struct OpenZone {
  zone::ZoneRequest request;
  int descriptor = -1;
  bool is_new = false;  // made for this configuration, not taken over
};
using ZoneSet = std::vector<OpenZone>;  // in the order of Resources::zones

// Makes the zones of `wanted` that `before` (may be null) does not have. False after a line in
// the log; nothing is left open then.
bool open_zones(const std::vector<zone::ZoneRequest>& wanted, const ZoneSet* before,
                ProcessLog& log, ZoneSet& out);
// Closes those that were made for a configuration that is dropped.
void abandon_zones(ZoneSet& zones);
// Closes what `before` had and `after` has not.
void close_unused_zones(ZoneSet& before, const ZoneSet& after);

}  // namespace weir::process
