#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "confparse/arena.h"
#include "confparse/ast.h"
#include "confparse/diagnostic.h"
#include "confparse/source.h"
#include "confparse/world.h"

namespace weir::conf {

// What a configuration may cost. nginx has no such limits; ours are far above real configurations.
struct ParseLimits {
  uint32_t block_depth = 500;
  uint32_t include_depth = 100;
  uint32_t includes = 200'000;          // include expansions in all
  uint64_t total_bytes = 512ull << 20;  // of read text, repeated includes counted each time
};

struct ParseOptions {
  std::string conf_prefix;  // folder of the configuration, ends in '/': includes are relative to it
  std::string global_directives;  // the text of -g, read before the file
  ParseLimits limits = {};
};

// A whole configuration: all files in one tree. `problems` are those of reading (syntax, includes),
// numbered like statements, so that they sort among what the compiler finds. The tree is usable
// even then: it holds what was read before (and, where that is safe, after) the problem.
struct Tree {
  Block root;
  std::vector<Diagnostic> problems;
  FileId file = 0;  // the main file; 0 when it could not be read
  // Number of the problem where reading ended before its time; 0: it did not. What is found later
  // than that is only a consequence.
  uint32_t halted_at = 0;
  bool incomplete = false;   // something was left out: what it defines is missing
  bool stray_close = false;  // there is a '}' too many
  TreeArena arena;
};

// Reads the file `path` (already a full path) and everything that it includes, through `world`.
Tree parse_configuration(World& world, Sources& sources, const std::string& path,
                         const ParseOptions& options);

// Parses one text that is already in `sources`, includes expanded through `world`. For tests and
// for defaults of directives; the text of -g goes through ParseOptions.
Tree parse_source(World& world, Sources& sources, FileId file, const ParseOptions& options);

}  // namespace weir::conf
