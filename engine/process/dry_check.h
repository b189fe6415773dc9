#pragma once

#include <string>

#include "confparse/world.h"
#include "engine/process/command_line.h"
#include "engine/process/plan.h"

namespace weir::process {

// What opening a configuration's files would say, found by looking only: the pid file, temp folders
// and log files need a folder to be in. Permissions are not judged (the service is started by
// root). Empty: nothing is wrong; else nginx's text of the first failure.
std::string check_files(conf::World& world, const CoreSettings& core, const Resources& resources);

// Such a problem with line, column and a suggestion: the word that names the file is looked for in
// the configuration, which is read again. Ends in a newline.
std::string explain_file_problem(conf::World& world, const Locations& locations, std::string text);

}  // namespace weir::process
