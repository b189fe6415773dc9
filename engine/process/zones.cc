#include "engine/process/zones.h"

#include <unistd.h>

#include <algorithm>

#include "engine/zone/zone.h"

namespace weir::process {

bool open_zones(const std::vector<zone::ZoneRequest>& wanted, const ZoneSet* before,
                ProcessLog& log, ZoneSet& out) {
  for (const zone::ZoneRequest& request : wanted) {
    OpenZone& zone = out.emplace_back();
    zone.request = request;
    for (size_t i = 0; before && i < before->size(); ++i) {
      if ((*before)[i].request == request) zone.descriptor = (*before)[i].descriptor;
    }
    if (zone.descriptor >= 0) continue;
    zone.descriptor = zone::Mapping::create(request);
    zone.is_new = true;
    if (zone.descriptor >= 0) continue;
    log.write(Severity::emerg,
              "shared memory zone \"" + request.name + "\" of " + std::to_string(request.size) +
                  " bytes cannot be made",
              -zone.descriptor);
    abandon_zones(out);
    return false;
  }
  return true;
}

void abandon_zones(ZoneSet& zones) {
  for (OpenZone& zone : zones) {
    if (zone.is_new && zone.descriptor >= 0) close(zone.descriptor);
  }
  zones.clear();
}

void close_unused_zones(ZoneSet& before, const ZoneSet& after) {
  for (OpenZone& zone : before) {
    const bool used = std::any_of(after.begin(), after.end(), [&](const OpenZone& other) {
      return other.descriptor == zone.descriptor;
    });
    if (!used && zone.descriptor >= 0) close(zone.descriptor);
  }
  before.clear();
}

}  // namespace weir::process
