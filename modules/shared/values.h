#pragma once

#include <cstdint>

#include "confparse/compiler.h"
#include "confparse/variables.h"

// Helpers of the variables of http and stream.
namespace weir::shared {

// Numbers and times as nginx prints them, in the source's memory.
conf::Value number_value(conf::VariableSource& source, uint64_t number);
conf::Value seconds_value(conf::VariableSource& source, uint64_t milliseconds);  // "12.345"

// A row of a table of variables; confparse/variables.h says what the members mean.
struct Definition {
  const char* name;
  conf::VariableGet get;
  bool cacheable = true;
  uintptr_t data = 0;
  bool prefix = false;
  bool changeable = false;
  conf::VariableSet set = nullptr;
};
// Called by a module's prepare().
void define(conf::Compiler& compiler, const Definition& definition);

}  // namespace weir::shared
