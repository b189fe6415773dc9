#pragma once

#include <cstdint>
#include <string_view>

#include "confparse/compiler.h"
#include "engine/stream/session.h"

// Helpers of stream's variables.
namespace weir::stream {

inline Session& session_of(conf::VariableSource& source) {
  return static_cast<Session&>(source);
}

// As nginx prints them, in the session's memory.
conf::Value number_value(Session& session, uint64_t number);
conf::Value seconds_value(Session& session, uint64_t milliseconds);  // "12.345"

struct Definition {
  const char* name;
  conf::VariableGet get;
  bool cacheable = true;
  uintptr_t data = 0;
  bool prefix = false;
  bool changeable = false;
};
void define(conf::Compiler& compiler, const Definition& definition);

}  // namespace weir::stream
