// `confcheck -t` on many configurations in one process: starting one for each would take most of
// the time, above all under sanitizers. Reads folders from standard input; for each prints "==
// CODE", and what confcheck prints about NAME/nginx.conf there with -p NAME/.
#include <cstdio>
#include <iostream>
#include <string>

#include "confparse/worlds.h"
#include "tools/confcheck/verdict.h"

int main() {
  std::string folder;
  while (std::getline(std::cin, folder)) {
    weir::process::CommandLine command_line;
    command_line.prefix = folder + "/";
    command_line.conf_file = folder + "/nginx.conf";
    weir::conf::DryWorld world(true);
    const Verdict verdict = judge(world, command_line);
    const std::string text = text_of(verdict, false);
    std::printf("== %d\n%s", verdict.good() ? 0 : 1, text.c_str());
    std::fflush(stdout);
  }
}
