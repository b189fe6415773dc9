#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/net/address.h"
#include "engine/net/stream.h"

namespace weir::net {

// A client connection on its way from one listener to another (stream's `pass`): what the second
// takes over. Nothing of it is read that the first did not consume.
struct PassedConnection {
  int descriptor = -1;           // not watched by anybody
  std::unique_ptr<Layer> layer;  // TLS that has been ended here; null: plain
  Address peer;                  // as accepted, or as realip found it
  uint32_t passes = 1;           // how often it has been passed on
};

}  // namespace weir::net
