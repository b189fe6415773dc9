#pragma once

#include <string>
#include <string_view>

#include "confparse/world.h"

// Questions of setters, and what processes share.
namespace weir::tls {

// Can the file of passphrases be read? 0 or an errno. What it holds stays in the master.
int check_passwords(conf::World& world, const std::string& path);
// What the keys of session tickets are made of where no key file is given. Made once, in the
// process that reads configurations and before it forks, so that all workers have the same, also
// after a reload.
const std::string& ticket_secret();
// Does this command of ssl_conf_command take a file name?
bool takes_file(std::string_view command);

}  // namespace weir::tls
