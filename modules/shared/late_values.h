#pragma once

#include "confparse/variables.h"

namespace weir::shared {

// Is this variable's value known only at the end of a request or session? `is_late` says so of the
// plain ones; those that are made of others (map) are followed.
using IsLate = bool (*)(std::string_view name);
inline bool reads_late(conf::VariableId id, const conf::VariableTable& variables, IsLate is_late,
                       unsigned depth = 16) {
  if (is_late(variables[id].name) || depth == 0) return true;
  // Definitions: the uses are resolved only after every block was read.
  const conf::Variable* definition = variables.find(variables[id].name);
  if (!definition) return false;
  for (const conf::VariableId inner : definition->reads) {
    if (reads_late(inner, variables, is_late, depth - 1)) return true;
  }
  return false;
}

}  // namespace weir::shared
