#pragma once

#include <string>

#include "confparse/world.h"
#include "engine/process/command_line.h"
#include "engine/process/compile_generation.h"

// What `confcheck -t` says of one configuration; also judges many in one process, for tests.
struct Verdict {
  weir::process::CompiledGeneration compiled;
  std::string conf_file;
  std::string files_problem;    // of a configuration that compiles: a file it names cannot be used
  std::string files_explained;  // the same with its place
  bool good() const { return compiled.ok && files_problem.empty(); }
};

Verdict judge(weir::conf::World& world, const weir::process::CommandLine& command_line);
// As nginx -t tells it, then every problem with its place and a suggestion. `quiet`: nothing about
// a good configuration.
std::string text_of(const Verdict& verdict, bool quiet);
