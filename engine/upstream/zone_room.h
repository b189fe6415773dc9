#pragma once

#include <vector>

#include "engine/upstream/cluster.h"
#include "engine/zone/request.h"

namespace weir::upstream {

// Would a new zone hold the states of all servers of these groups, and of their health checks, as
// far as they are known now? For compiling: tries it in memory of its own.
bool zone_has_room(const zone::ZoneRequest& request, const std::vector<const Cluster*>& clusters);

}  // namespace weir::upstream
