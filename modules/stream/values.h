#pragma once

#include <string_view>

#include "confparse/compiler.h"
#include "engine/stream/session.h"
#include "modules/shared/values.h"

// Helpers of stream's modules.
namespace weir::stream {

using shared::define;
using shared::Definition;
using shared::number_value;
using shared::seconds_value;

inline Session& session_of(conf::VariableSource& source) {
  return static_cast<Session&>(source);
}

// What the log says when writing to it fails.
inline std::string_view write_failure(const net::Stream& stream) {
  return stream.is_plain() ? "writev() failed" : "SSL_write() failed";
}

}  // namespace weir::stream
