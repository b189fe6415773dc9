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
#include "modules/shared/upstream_block.h"

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
  // Of a block that was read.
  void add_unresolved(std::vector<UpstreamBlock::Unresolved> servers) {
    for (auto& server : servers) unresolved_.push_back(std::move(server));
  }
  // Of the subsystem's block, for servers with `resolve`.
  struct ResolverSettings {
    const std::vector<std::string>& words;
    int64_t timeout;  // milliseconds
  };
  // Resolves implied groups and checks the others.
  void complete(conf::Compiler& compiler, const ResolverSettings& resolver);
  // When the clusters have their health checks: is there room in their zones?
  void check_zones(conf::Compiler& compiler) const;

  upstream::Cluster* current = nullptr;  // whose block is being visited
  UpstreamBlock block;                   // the same, for its lines
  bool keepalive_seen = false;           // in that block
  bool start_unresolved = false;         // names that are not found do not stop the start

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
  std::string nearest_upstream(const std::string& host) const;
  static void check_resolve(conf::Compiler& compiler, const Entry& entry,
                            const ResolverSettings& resolver);
  upstream::Cluster* add(Entry entry, std::string_view host, uint16_t default_port);
  const bool is_stream_;
  Clusters* clusters_ = nullptr;
  std::vector<Entry> entries_;
  std::vector<UpstreamBlock::Unresolved> unresolved_;
};

class HttpUpstreams final : public UpstreamBuilder {
 public:
  HttpUpstreams() : UpstreamBuilder(false) {}
};
class StreamUpstreams final : public UpstreamBuilder {
 public:
  StreamUpstreams() : UpstreamBuilder(true) {}
};

// The module's complete(). CoreSettings are those of its subsystem.
template <class Upstreams, class CoreSettings>
void complete_upstreams(conf::Compiler& compiler, conf::Scope& root) {
  const CoreSettings& core = root.get<CoreSettings>();
  compiler.state<Upstreams>().complete(compiler, {core.resolver, core.resolver_timeout.value});
}

// The builder of the subsystem that `scope` belongs to.
UpstreamBuilder& upstreams(conf::Compiler& compiler, const conf::Scope& scope);

// Setters.
void set_start_unresolved(conf::Compiler&, conf::Scope&, const conf::Statement&);
void set_upstream(conf::Compiler&, conf::Scope&, const conf::Statement&);
// A line of the block.
template <void (*Read)(conf::Compiler&, UpstreamBlock&, const conf::Statement&)>
void set_in_upstream(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& at) {
  Read(compiler, upstreams(compiler, scope).block, at);
}

// Rows of both, but for their context: in_upstream(kStreamUpstream, kZoneRow).
constexpr conf::Directive in_upstream(uint32_t where, conf::Directive row) {
  row.where = where;
  return row;
}
inline constexpr conf::Directive kUpstreamRow = {.name = "upstream",
                                                 .args = {1, 1},
                                                 .form = conf::Form::block,
                                                 .repeat = conf::Repeat::collect,
                                                 .merge = conf::Merge::own,
                                                 .set = set_upstream,
                                                 .doc = "Defines a group of servers."};
inline constexpr conf::Directive kServerRow = {
    .name = "server",
    .args = {1, conf::kNoLimit},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_server>,
    .doc =
        "Adds a server to the group: weight=, max_conns=, max_fails=, fail_timeout=, backup, "
        "down, resolve, service=, slow_start=; in http route=, drain."};
inline constexpr conf::Directive kZoneRow = {
    .name = "zone",
    .args = {1, 2},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_zone>,
    .doc = "Shared memory in which workers keep the servers' failures, connections and turns."};
inline constexpr conf::Directive kResolverRow = {
    .name = "resolver",
    .args = {0, conf::kNoLimit},
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_block_resolver>,
    .doc =
        "The name servers that are asked for servers with \"resolve\"; without an address the "
        "system's."};
inline constexpr conf::Directive kResolverTimeoutRow = {
    .name = "resolver_timeout",
    .args = {1, 1},
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_block_resolver_timeout>,
    .doc = "How long an answer of a name server is waited for."};
inline constexpr conf::Directive kHashRow = {
    .name = "hash",
    .args = {1, 2},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_hash>,
    .doc =
        "Chooses the server by the hash of a text; with \"consistent\", few keys move when "
        "servers come or go."};
inline constexpr conf::Directive kIpHashRow = {
    .name = "ip_hash",
    .args = {0, 0},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_ip_hash>,
    .doc = "Chooses the server by the client's network."};
inline constexpr conf::Directive kLeastConnectionsRow = {
    .name = "least_conn",
    .args = {0, 0},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_least_conn>,
    .doc = "Chooses the server with the fewest requests under way, by weight."};
inline constexpr conf::Directive kLeastTimeRow = {
    .name = "least_time",
    .args = {1, 2},
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_least_time>,
    .doc =
        "Chooses the server with the shortest average time to the head or the last byte, and "
        "few requests under way."};
inline constexpr conf::Directive kRandomRow = {
    .name = "random",
    .args = {0, 2},
    .repeat = conf::Repeat::collect,
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_random>,
    .doc =
        "Chooses a server by chance; with \"two\", the one of two with fewer requests under way."};

inline constexpr conf::Directive kRetryBudgetRow = {
    .name = "retry_budget",
    .args = {1, 3},
    .merge = conf::Merge::own,
    .set = set_in_upstream<read_retry_budget>,
    .doc =
        "Limits further attempts of requests that failed to a share of the requests: PERCENT% "
        "[min=RATE] [window=TIME]."};
inline constexpr conf::Directive kStartUnresolvedRow = {
    .name = "upstream_start_unresolved",
    .args = {1, 1},
    .form = conf::Form::flag,
    .initial = "off",
    .merge = conf::Merge::own,
    .set = set_start_unresolved,
    .doc =
        "Starts although names of upstream servers are not found, and asks for them until they "
        "are."};

}  // namespace weir::shared
