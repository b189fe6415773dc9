#include "engine/stream/graph.h"

#include "engine/upstream/cluster.h"

namespace weir::stream {

Graph::Graph() = default;
Graph::~Graph() = default;

const Listener* Graph::find_listener(size_t resource, const net::Address& (*local)(void*),
                                     void* from) const {
  const Listener* found = nullptr;
  bool several = false;
  for (const auto& listener : listeners) {
    if (listener->resource != resource) continue;
    several = found != nullptr;
    if (!found || listener->is_resource_owner) found = listener.get();
    if (several) break;
  }
  if (!several) return found;
  const net::Address& address = local(from);
  const Listener* wildcard = nullptr;
  for (const auto& listener : listeners) {
    if (listener->resource != resource) continue;
    if (listener->options.address == address) return listener.get();
    if (listener->is_resource_owner) wildcard = listener.get();
  }
  return wildcard;
}

}  // namespace weir::stream
