#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/schema.h"
#include "engine/generation.h"
#include "engine/log/severity.h"
#include "engine/process/command_line.h"
#include "engine/process/settings.h"

namespace weir::process {

// What the master must know of a configuration, and what workers need to compile it again: made by
// a helper process (so that the master's memory never grows with the configuration), kept in a
// sealed memory file. The bundle is the recorded answers of the world.
struct Plan {
  struct Problem {
    Severity severity = Severity::emerg;
    std::string text;
  };

  uint64_t number = 0;
  bool ok = false;
  bool syntax_ok = false;
  std::vector<Problem> problems;  // up to the first that fails, in nginx's order
  std::string explained;          // our own view of all of them
  Locations locations;
  CoreSettings core;
  EventSettings events;
  Resources resources;
  std::string_view bundle;  // of the bytes that the plan was decoded from

  std::string encode() const;
  static bool decode(std::string_view bytes, Plan& out);
};

// Compiles through a recording RealWorld and returns the encoded plan. Runs in a helper process.
std::string make_plan(std::span<const conf::Module* const> modules, const Locations& locations,
                      uint64_t number);

}  // namespace weir::process
