#include "engine/generation.h"

#include "engine/http/graph.h"
#include "engine/stream/graph.h"

namespace weir {

Generation::Generation() = default;

// Requests, then what they refer to: the graph goes before the scopes that its own refer to.
Generation::~Generation() {
  http.reset();
  stream.reset();
  root.reset();
}

}  // namespace weir
