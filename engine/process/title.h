#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::process {

// What ps shows. remember_title_space() is called first in main(), with its argv: the words and the
// environment are moved away, and their place is used for titles.
void remember_title_space(int count, char** words);
// "nginx: master process /usr/sbin/nginx -g …".
void set_title(std::string_view title);
// The words of the command line, joined by spaces.
std::string_view command_words();
// The words themselves, the program first.
const std::vector<std::string>& command_line();

}  // namespace weir::process
