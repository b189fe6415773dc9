#pragma once

#include <span>

#include "confparse/schema.h"
#include "engine/process/command_line.h"

namespace weir::process {

// `weir`: reads the configuration, opens what it needs, goes to the background, serves until it is
// told to stop. Returns the exit code.
int run_service(std::span<const conf::Module* const> modules, const Locations& locations);

// `weir -t` and `-T`.
struct TestOptions {
  bool quiet = false;
  bool dump = false;
};
int test_configuration(std::span<const conf::Module* const> modules, const Locations& locations,
                       const TestOptions& options);

// `weir -s …`.
int send_signal(std::span<const conf::Module* const> modules, const Locations& locations,
                const std::string& signal);

}  // namespace weir::process
