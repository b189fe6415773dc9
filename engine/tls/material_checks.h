#pragma once

#include <string>
#include <string_view>

#include "confparse/world.h"

// Questions of setters.
namespace weir::tls {

// Can the file of passphrases be read? 0 or an errno. What it holds stays in the master.
int check_passwords(conf::World& world, const std::string& path);
// Does this command of ssl_conf_command take a file name?
bool takes_file(std::string_view command);

}  // namespace weir::tls
