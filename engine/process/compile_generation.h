#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "confparse/diagnostic.h"
#include "confparse/schema.h"
#include "confparse/source.h"
#include "confparse/world.h"
#include "engine/generation.h"
#include "engine/log/severity.h"
#include "engine/process/command_line.h"

namespace weir::process {

// What a configuration compiled to. `generation` is null unless ok.
struct CompiledGeneration {
  bool ok = false;
  // The text was read to its end without an error; what failed came after (nginx says "syntax is
  // ok" then).
  bool syntax_ok = false;
  std::vector<conf::Diagnostic> diagnostics;  // sorted in nginx's order
  uint32_t end_number = 0;  // of the end of the file: what has a greater number came after reading
  std::unique_ptr<conf::Sources> sources;
  Ref<Generation> generation;
};

// Reads the configuration through `world` and compiles it: the one function behind weir -t, the
// master, the workers and confcheck. Touches nothing of a running generation, so it may run on a
// helper thread. `modules` lives as long as the generation.
CompiledGeneration compile_generation(conf::World& world,
                                      std::span<const conf::Module* const> modules,
                                      const Locations& locations, uint64_t number);

// A problem as nginx logs it: text and place, without the level.
std::string diagnostic_text(const CompiledGeneration& compiled, const conf::Diagnostic& diagnostic);
// Our own view of all problems: line, column, a suggestion.
std::string explained_text(const CompiledGeneration& compiled);

}  // namespace weir::process
