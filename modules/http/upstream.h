#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/schema.h"
#include "engine/http/graph.h"
#include "engine/upstream/cluster.h"
#include "modules/shared/upstream_block.h"

namespace weir::http {

extern const conf::Module kUpstreamModule;

// Groups of servers while they are compiled: those of upstream blocks, and those that a proxy_pass
// implies. A name may be used before its block is read; all are linked at the end of http.
class UpstreamBuilder final : public conf::CompilerState {
 public:
  // The group that `url` (of a proxy_pass and its like, parsed without resolving) names: an
  // upstream block, read or to come, or a group of its own, resolved at the end. Null after an
  // error.
  const upstream::Cluster* refer(conf::Compiler& compiler, const conf::Statement& at,
                                 const conf::Url& url);
  // For an upstream block. Null after an error.
  upstream::Cluster* define(conf::Compiler& compiler, const conf::Statement& at,
                            std::string_view name);
  // Resolves implied groups and checks the others.
  void complete(conf::Compiler& compiler);

  upstream::Cluster* current = nullptr;  // whose block is being visited
  shared::UpstreamBlock block;           // the same, for lines that stream has too
  bool keepalive_seen = false;           // in that block

 private:
  struct Entry {
    upstream::Cluster* cluster;
    const conf::Statement* at;
    uint16_t port;
    bool no_port;
    bool defined;
  };
  upstream::Cluster* add(conf::Compiler& compiler, Entry entry, std::string_view host,
                         uint16_t default_port);
  std::vector<Entry> entries_;
};

}  // namespace weir::http
