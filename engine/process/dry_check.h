#pragma once

#include <string>

#include "confparse/world.h"
#include "engine/process/plan.h"

namespace weir::process {

// What opening a configuration's files would say, found by looking only: the pid file, temp folders
// and log files need a folder to be in. Permissions are not judged (the service is started by
// root). Empty: nothing is wrong; else nginx's text of the first failure.
std::string check_files(conf::World& world, const CoreSettings& core, const Resources& resources);

}  // namespace weir::process
