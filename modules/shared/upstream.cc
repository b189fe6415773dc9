#include "modules/shared/upstream.h"

#include <algorithm>
#include <map>

#include "confparse/advice.h"
#include "confparse/nearest.h"
#include "confparse/setters.h"
#include "confparse/value.h"
#include "engine/upstream/zone_room.h"

namespace weir::shared {
namespace {

using conf::Compiler;
using conf::Scope;
using conf::Statement;
using upstream::Cluster;
using upstream::Server;

}  // namespace

UpstreamBuilder& upstreams(Compiler& compiler, const Scope& scope) {
  const bool is_stream =
      scope.context() & (conf::kStream | conf::kStreamServer | conf::kStreamUpstream);
  if (is_stream) return compiler.state<StreamUpstreams>();
  return compiler.state<HttpUpstreams>();
}

void set_start_unresolved(Compiler& compiler, Scope& scope, const Statement& at) {
  conf::read_setting(compiler, scope, at, upstreams(compiler, scope).start_unresolved);
}

void set_upstream(Compiler& compiler, Scope& scope, const Statement& at) {
  auto& builder = upstreams(compiler, scope);
  Cluster* cluster = builder.define(compiler, at, at.argument(0));
  if (!cluster) return;
  builder.current = cluster;
  builder.keepalive_seen = false;
  builder.block = UpstreamBlock();
  builder.block.cluster = cluster;
  builder.block.is_stream = scope.context() == conf::kStream;
  builder.block.zone_kind = builder.block.is_stream ? "stream upstream 3" : "http upstream 3";
  Scope inner(scope.context() == conf::kStream ? conf::kStreamUpstream : conf::kUpstream, &scope);
  compiler.visit(*at.block, inner);
  builder.add_unresolved(std::move(builder.block.unresolved));
  builder.current = nullptr;
  builder.block.cluster = nullptr;
  const auto& lines = at.block->statements;
  const bool tried = std::any_of(lines.begin(), lines.end(), [&](const Statement& line) {
    // A server that was refused, or what should have been one, was reported.
    return line.name() == "server" || !compiler.find_directive(line, inner.context());
  });
  if (cluster->servers.empty() && !(tried && compiler.failed())) {
    compiler.error_at_close(at, "no servers are inside upstream",
                            "An upstream needs at least one \"server\" line.");
  }
  settle_weights(compiler, *cluster, at);
}

Cluster* UpstreamBuilder::add(Entry entry, std::string_view host, uint16_t default_port) {
  auto cluster = std::make_unique<Cluster>();
  cluster->host = host;
  cluster->name = host;
  cluster->implied = !entry.defined;
  cluster->is_stream = is_stream_;
  cluster->default_port = default_port;
  if (!entry.defined) cluster->name += ":" + std::to_string(entry.port);
  entry.cluster = cluster.get();
  entries_.push_back(entry);
  clusters_->push_back(std::move(cluster));
  return entry.cluster;
}

Cluster* UpstreamBuilder::define(Compiler& compiler, const Statement& at, std::string_view name) {
  for (Entry& entry : entries_) {
    if (!conf::equal_without_case(entry.cluster->host, name)) continue;
    if (entry.defined) {
      compiler.error(
          at, "duplicate upstream \"" + std::string(name) + "\"",
          "the first is in " + compiler.line_of(entry.at->words[0].span, at.words[0].span),
          &at.words[1]);
      return nullptr;
    }
    if (!entry.no_port) {
      // Reported at the use that came first, with its place in the text.
      compiler.late_error(
          at.number, 0,
          "upstream \"" + std::string(name) + "\" may not have port " + std::to_string(entry.port),
          entry.at,
          "\"" + std::string(name) + "\" is an upstream block, in " +
              compiler.line_of(at.words[0].span, entry.at->words[0].span) +
              ": its servers have the ports",
          conf::Severity::emerg, entry.at->words[1].span);
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
  return add(Entry{nullptr, &at, 0, true, true}, name, 0);
}

const Cluster* UpstreamBuilder::refer(Compiler& compiler, const Statement& at,
                                      const conf::Url& url) {
  std::string host = url.kind == conf::Url::Kind::unix_socket ? "unix:" + url.host : url.host;
  for (Entry& entry : entries_) {
    if (!conf::equal_without_case(entry.cluster->host, host)) continue;
    if (entry.defined && !url.no_port && at.number < entry.at->number) {
      compiler.late_error(entry.at->number, 0,
                          "upstream \"" + host + "\" may not have port " + std::to_string(url.port),
                          &at, "The ports are those of the upstream's servers.",
                          conf::Severity::emerg, at.words[1].span);
      return nullptr;
    }
    if (entry.defined && !url.no_port) {
      compiler.error(at, "upstream \"" + host + "\" may not have port " + std::to_string(url.port),
                     "The ports are those of the upstream's servers.", &at.words[1]);
      return nullptr;
    }
    if (!entry.defined && entry.port != url.port) continue;
    return entry.cluster;
  }
  Cluster* cluster = add(Entry{nullptr, &at, url.port, url.no_port, false}, host, url.port);
  if (url.kind == conf::Url::Kind::name) return cluster;
  Server server;
  server.name = host;
  for (const conf::SocketAddress& address : url.addresses) {
    server.addresses.push_back(net::Address::from_bytes(address.bytes));
  }
  cluster->servers.push_back(std::move(server));
  return cluster;
}

// The defined upstream that was meant by a name that there is none of.
std::string UpstreamBuilder::nearest_upstream(const std::string& host) const {
  conf::Nearest nearest(host);
  for (const Entry& entry : entries_) {
    if (entry.defined) nearest.consider(entry.cluster->host);
  }
  return nearest.found() ? "did you mean \"" + nearest.best() + "\"? " : std::string();
}

// What servers with `resolve` need.
void UpstreamBuilder::check_resolve(Compiler& compiler, const Entry& entry,
                                    const ResolverSettings& resolver) {
  Cluster& cluster = *entry.cluster;
  bool any = false;
  for (const Server& server : cluster.servers) any = any || server.resolve;
  if (!any) return;
  const std::string where = " upstream \"" + cluster.host + "\"";
  if (!cluster.zone) {
    compiler.error(*entry.at,
                   "resolving names at run time requires" + where + " to be in shared memory",
                   "Add \"zone NAME SIZE;\" to it.");
    return;
  }
  if (cluster.resolver_timeout < 0) cluster.resolver_timeout = resolver.timeout;
  if (cluster.resolver.empty()) cluster.resolver = resolver.words;
  if (cluster.resolver.empty() || cluster.resolver[0] == "off") {
    compiler.error(*entry.at, "no resolver defined to resolve names at run time in" + where,
                   "Add \"resolver ADDRESS;\" to it, or around it.");
  }
}

// nginx finds this when it fills the zones, after reading.
void UpstreamBuilder::check_zones(Compiler& compiler) const {
  std::map<const zone::Zone*, std::vector<const Cluster*>> users;
  for (const Entry& entry : entries_) {
    if (entry.cluster->zone) users[entry.cluster->zone.get()].push_back(entry.cluster);
  }
  for (const Entry& entry : entries_) {
    const auto found = users.find(entry.cluster->zone.get());
    if (found == users.end()) continue;
    const zone::ZoneRequest& request = found->first->request;
    if (request.size && !upstream::zone_has_room(request, found->second)) {
      compiler.late_error(
          UINT32_MAX, 0,
          "ngx_slab_alloc() failed: no memory in upstream zone \"" + request.name + "\"", nullptr,
          "The zone is too small for the servers of its upstreams.", Severity::crit);
    }
    users.erase(found);
  }
}

namespace {

bool any_unresolved(const Cluster& cluster) {
  return std::any_of(cluster.servers.begin(), cluster.servers.end(),
                     [](const Server& server) { return server.unresolved; });
}

}  // namespace

void UpstreamBuilder::complete(Compiler& compiler, const ResolverSettings& resolver) {
  compiler.sort_as_finish();
  for (const UpstreamBlock::Unresolved& server : unresolved_) {
    compiler.late_error(
        server.at->number, 0, server.text, server.at, conf::explain_message(server.text),
        start_unresolved ? Severity::warn : Severity::emerg, server.at->words[1].span);
  }
  for (Entry& entry : entries_) {
    Cluster& cluster = *entry.cluster;
    if (entry.defined) {
      bool any = cluster.servers.empty();  // reported already
      for (const Server& server : cluster.servers) any |= !server.backup;
      if (!any) {
        compiler.error(*entry.at, "no servers in upstream \"" + cluster.host + "\"",
                       "Every server of it is a backup.");
      }
      check_resolve(compiler, entry, resolver);
      if (any_unresolved(cluster) && cluster.resolver_timeout < 0) {
        cluster.resolver_timeout = resolver.timeout;
      }
      continue;
    }
    if (entry.port == 0 && !cluster.host.starts_with("unix:")) {
      compiler.error(*entry.at, "no port in upstream \"" + cluster.host + "\"",
                     nearest_upstream(cluster.host) +
                         "Neither is there an \"upstream\" of this name, nor is a port given.",
                     &entry.at->words[1]);
      continue;
    }
    if (!cluster.servers.empty()) continue;
    const auto answer = compiler.world().resolve(cluster.host, entry.port);
    Server server;
    server.name = cluster.host;
    server.host = cluster.host;
    server.port = entry.port;
    if (!answer.ok() || answer.value.empty()) {
      const std::string text = "host not found in upstream \"" + cluster.host + "\"";
      if (!start_unresolved) {
        compiler.error(*entry.at, text,
                       nearest_upstream(cluster.host) + conf::explain_message(text),
                       &entry.at->words[1]);
        continue;
      }
      compiler.warn(*entry.at, text, {}, &entry.at->words[1]);
      server.unresolved = true;
      cluster.resolver_timeout = resolver.timeout;
    }
    for (const conf::SocketAddress& address : answer.value) {
      server.addresses.push_back(net::Address::from_bytes(address.bytes));
    }
    cluster.servers.push_back(std::move(server));
  }
}

}  // namespace weir::shared
