#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/schema.h"
#include "engine/upstream/cluster.h"

// upstream blocks, once for http and stream: reading them, and linking those who name them. Each
// subsystem registers its rows with the setters below.
namespace weir::shared {

// Groups of servers while they are compiled: those of upstream blocks, and those that a proxy_pass
// implies. A name may be used before its block is read; all are linked at the end of the
// subsystem's block.
class UpstreamBuilder : public conf::CompilerState {
 public:
  using Clusters = std::vector<std::unique_ptr<upstream::Cluster>>;

  // Where groups are kept: the graph's list. Called by the module's prepare().
  void begin(Clusters& clusters) { clusters_ = &clusters; }
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
  bool keepalive_seen = false;           // in that block

 protected:
  explicit UpstreamBuilder(bool is_stream) : is_stream_(is_stream) {}

 private:
  struct Entry {
    upstream::Cluster* cluster;
    const conf::Statement* at;
    uint16_t port;
    bool no_port;
    bool defined;
  };
  upstream::Cluster* add(Entry entry, std::string_view host, uint16_t default_port);
  const bool is_stream_;
  Clusters* clusters_ = nullptr;
  std::vector<Entry> entries_;
};

class HttpUpstreams final : public UpstreamBuilder {
 public:
  HttpUpstreams() : UpstreamBuilder(false) {}
};
class StreamUpstreams final : public UpstreamBuilder {
 public:
  StreamUpstreams() : UpstreamBuilder(true) {}
};

// The builder of the subsystem that `scope` belongs to.
UpstreamBuilder& upstreams(conf::Compiler& compiler, const conf::Scope& scope);

// Setters.
void set_upstream(conf::Compiler&, conf::Scope&, const conf::Statement&);
void set_upstream_server(conf::Compiler&, conf::Scope&, const conf::Statement&);

}  // namespace weir::shared
