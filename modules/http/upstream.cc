#include "modules/http/upstream.h"

#include <optional>

#include "confparse/setters.h"
#include "confparse/value.h"
#include "engine/http/builder.h"
#include "engine/http/gateway_variables.h"

namespace weir::http {
namespace {

using conf::Compiler;
using conf::Directive;
using conf::Scope;
using conf::Statement;
using conf::Word;
using upstream::Cluster;
using upstream::Server;

void set_upstream(Compiler& compiler, Scope& scope, const Statement& at) {
  auto& builder = compiler.state<UpstreamBuilder>();
  Cluster* cluster = builder.define(compiler, at, at.argument(0));
  if (!cluster) return;
  builder.current = cluster;
  builder.keepalive_seen = false;
  builder.block = shared::UpstreamBlock();
  builder.block.cluster = cluster;
  builder.block.zone_kind = "http upstream 1";
  Scope inner(conf::kUpstream, &scope);
  compiler.visit(*at.block, inner);
  builder.current = nullptr;
  builder.block.cluster = nullptr;
  if (cluster->servers.empty()) {
    compiler.error_at_close(at, "no servers are inside upstream",
                            "An upstream needs at least one \"server\" line.");
  }
}

void set_server(Compiler& compiler, Scope&, const Statement& at) {
  shared::read_server(compiler, compiler.state<UpstreamBuilder>().block, at);
}

// The line is read by a function that http and stream share.
template <void (*Read)(Compiler&, shared::UpstreamBlock&, const Statement&)>
void set_shared(Compiler& compiler, Scope&, const Statement& at) {
  Read(compiler, compiler.state<UpstreamBuilder>().block, at);
}

void set_least_time(Compiler& compiler, Scope&, const Statement& at) {
  shared::read_least_time(compiler, compiler.state<UpstreamBuilder>().block, at, false);
}

void set_keepalive(Compiler& compiler, Scope&, const Statement& at) {
  auto& builder = compiler.state<UpstreamBuilder>();
  if (!builder.current) return;
  if (builder.keepalive_seen) return compiler.duplicate(at);
  builder.keepalive_seen = true;
  builder.block.method_seen = true;  // nginx warns about a balancer behind it
  const std::optional<int64_t> count = conf::parse_number(at.argument(0));
  if (!count || *count > INT32_MAX) {
    return compiler.error(
        at, "invalid value \"" + std::string(at.argument(0)) + "\" in \"keepalive\" directive", {},
        &at.words[1]);
  }
  bool local = false;
  if (at.argument_count() == 2) {
    if (at.argument(1) != "local") return compiler.invalid_parameter(at, at.words[2]);
    local = true;
  }
  upstream::KeepalivePolicy& policy = builder.current->keepalive;
  policy.connections = static_cast<uint32_t>(*count);
  policy.enabled = *count != 0;
  policy.local = local;
}

void set_keepalive_requests(Compiler& compiler, Scope&, const Statement& at) {
  Cluster* cluster = compiler.state<UpstreamBuilder>().current;
  const std::optional<int64_t> value = conf::parse_number(at.argument(0));
  if (!value) {
    return compiler.error(at, "\"keepalive_requests\" directive invalid number", {}, &at.words[1]);
  }
  if (cluster) cluster->keepalive.requests = static_cast<uint64_t>(*value);
}

template <uint64_t upstream::KeepalivePolicy::* field>
void set_keepalive_time(Compiler& compiler, Scope&, const Statement& at) {
  Cluster* cluster = compiler.state<UpstreamBuilder>().current;
  const std::optional<int64_t> value = conf::parse_milliseconds(at.argument(0));
  if (!value) {
    return compiler.error(at, "\"" + std::string(at.name()) + "\" directive invalid value", {},
                          &at.words[1]);
  }
  if (cluster) cluster->keepalive.*field = static_cast<uint64_t>(*value);
}

constexpr Directive kDirectives[] = {
    {.name = "upstream",
     .where = conf::kHttp,
     .args = {1, 1},
     .form = conf::Form::block,
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_upstream,
     .doc = "Defines a group of servers."},
    {.name = "server",
     .where = conf::kUpstream,
     .args = {1, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_server,
     .doc = "Adds a server to the group: weight=, max_conns=, max_fails=, fail_timeout=, backup, "
            "down."},
    {.name = "zone",
     .where = conf::kUpstream,
     .args = {1, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_shared<shared::read_zone>,
     .doc = "Shared memory in which workers keep the servers' failures, connections and turns."},
    {.name = "hash",
     .where = conf::kUpstream,
     .args = {1, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_shared<shared::read_hash>,
     .doc = "Chooses the server by the hash of a text; with \"consistent\", few keys move when "
            "servers come or go."},
    {.name = "ip_hash",
     .where = conf::kUpstream,
     .args = {0, 0},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_shared<shared::read_ip_hash>,
     .doc = "Chooses the server by the client's network."},
    {.name = "least_conn",
     .where = conf::kUpstream,
     .args = {0, 0},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_shared<shared::read_least_conn>,
     .doc = "Chooses the server with the fewest requests under way, by weight."},
    {.name = "least_time",
     .where = conf::kUpstream,
     .args = {1, 2},
     .merge = conf::Merge::own,
     .set = set_least_time,
     .doc = "Chooses the server with the shortest average time to the head or the last byte, and "
            "few requests under way."},
    {.name = "random",
     .where = conf::kUpstream,
     .args = {0, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_shared<shared::read_random>,
     .doc =
         "Chooses a server by chance; with \"two\", the one of two with fewer requests under way."},
    {.name = "keepalive",
     .where = conf::kUpstream,
     .args = {1, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::own,
     .set = set_keepalive,
     .doc = "Keeps at most this many idle connections per worker; with \"local\", locations do not "
            "share them."},
    {.name = "keepalive_requests",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_requests,
     .doc = "Closes a connection after this many requests."},
    {.name = "keepalive_time",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_time<&upstream::KeepalivePolicy::time_milliseconds>,
     .doc = "Keeps no connection that is older."},
    {.name = "keepalive_timeout",
     .where = conf::kUpstream,
     .args = {1, 1},
     .merge = conf::Merge::own,
     .set = set_keepalive_time<&upstream::KeepalivePolicy::timeout_milliseconds>,
     .doc = "Closes a connection that has been idle this long."},
};

void prepare(Compiler& compiler, Scope&) {
  define_gateway_variables(compiler.variables());
}

void complete(Compiler& compiler, Scope&) {
  compiler.state<UpstreamBuilder>().complete(compiler);
}

}  // namespace

Cluster* UpstreamBuilder::add(Compiler& compiler, Entry entry, std::string_view host,
                              uint16_t default_port) {
  auto cluster = std::make_unique<Cluster>();
  cluster->host = host;
  cluster->name = host;
  cluster->implied = !entry.defined;
  cluster->default_port = default_port;
  if (!entry.defined) cluster->name += ":" + std::to_string(entry.port);
  entry.cluster = cluster.get();
  entries_.push_back(entry);
  builder(compiler).graph().clusters.push_back(std::move(cluster));
  return entry.cluster;
}

Cluster* UpstreamBuilder::define(Compiler& compiler, const Statement& at, std::string_view name) {
  for (Entry& entry : entries_) {
    if (!conf::equal_without_case(entry.cluster->host, name)) continue;
    if (entry.defined) {
      compiler.error(at, "duplicate upstream \"" + std::string(name) + "\"", {}, &at.words[1]);
      return nullptr;
    }
    if (!entry.no_port) {
      // Reported at the use that came first, with its place in the text.
      compiler.late_error(
          at.number, 0,
          "upstream \"" + std::string(name) + "\" may not have port " + std::to_string(entry.port),
          entry.at);
      return nullptr;
    }
    entry.defined = true;
    entry.port = 0;
    entry.at = &at;
    entry.cluster->implied = false;
    entry.cluster->default_port = 0;
    entry.cluster->servers.clear();
    entry.cluster->name = name;
    entry.cluster->host = name;
    return entry.cluster;
  }
  return add(compiler, Entry{nullptr, &at, 0, true, true}, name, 0);
}

const Cluster* UpstreamBuilder::refer(Compiler& compiler, const Statement& at,
                                      const conf::Url& url) {
  std::string host = url.kind == conf::Url::Kind::unix_socket ? "unix:" + url.host : url.host;
  for (Entry& entry : entries_) {
    if (!conf::equal_without_case(entry.cluster->host, host)) continue;
    if (entry.defined && !url.no_port && at.number < entry.at->number) {
      compiler.late_error(entry.at->number, 0,
                          "upstream \"" + host + "\" may not have port " + std::to_string(url.port),
                          &at);
      return nullptr;
    }
    if (entry.defined && !url.no_port) {
      compiler.error(at, "upstream \"" + host + "\" may not have port " + std::to_string(url.port),
                     "The ports are those of the upstream's servers.", &at.words[1]);
      return nullptr;
    }
    if (entry.port && url.port && entry.port != url.port) continue;
    return entry.cluster;
  }
  Cluster* cluster =
      add(compiler, Entry{nullptr, &at, url.port, url.no_port, false}, host, url.port);
  if (url.kind == conf::Url::Kind::name) return cluster;
  Server server;
  server.name = host;
  for (const conf::SocketAddress& address : url.addresses) {
    server.addresses.push_back(net::Address::from_bytes(address.bytes));
  }
  cluster->servers.push_back(std::move(server));
  return cluster;
}

void UpstreamBuilder::complete(Compiler& compiler) {
  for (Entry& entry : entries_) {
    Cluster& cluster = *entry.cluster;
    if (entry.defined) {
      bool any = cluster.servers.empty();  // reported already
      for (const Server& server : cluster.servers) any |= !server.backup;
      if (!any) {
        compiler.error(*entry.at, "no servers in upstream \"" + cluster.host + "\"",
                       "Every server of it is a backup.");
      }
      continue;
    }
    if (entry.port == 0 && !cluster.host.starts_with("unix:")) {
      compiler.error(*entry.at, "no port in upstream \"" + cluster.host + "\"",
                     "Neither is there an \"upstream\" of this name, nor is a port given.",
                     &entry.at->words[1]);
      continue;
    }
    if (!cluster.servers.empty()) continue;
    const auto answer = compiler.world().resolve(cluster.host, entry.port);
    if (!answer.ok() || answer.value.empty()) {
      compiler.error(*entry.at, "host not found in upstream \"" + cluster.host + "\"", {},
                     &entry.at->words[1]);
      continue;
    }
    Server server;
    server.name = cluster.host;
    for (const conf::SocketAddress& address : answer.value) {
      server.addresses.push_back(net::Address::from_bytes(address.bytes));
    }
    cluster.servers.push_back(std::move(server));
  }
}

const conf::Module kUpstreamModule = {
    .name = "ngx_http_upstream_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
    .root = conf::kHttp,
};

}  // namespace weir::http
