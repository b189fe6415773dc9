#pragma once

#include "confparse/compiler.h"
#include "engine/stream/session.h"
#include "modules/shared/values.h"

// Helpers of stream's variables.
namespace weir::stream {

using shared::define;
using shared::Definition;
using shared::number_value;
using shared::seconds_value;

inline Session& session_of(conf::VariableSource& source) {
  return static_cast<Session&>(source);
}

}  // namespace weir::stream
