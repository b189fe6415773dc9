#include "modules/shared/upstream_block.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "confparse/address.h"
#include "confparse/value.h"
#include "engine/upstream/peer_set.h"
#include "engine/zone/registry.h"
#include "modules/shared/resolver.h"

namespace weir::shared {

namespace {

using conf::Compiler;
using conf::Statement;
using upstream::Balancing;
using upstream::Method;
using upstream::Server;

// The value of "key=N" as a number, when the word is one.
bool take_number(std::string_view text, std::string_view key, std::optional<int64_t>& value) {
  if (!text.starts_with(key)) return false;
  value = conf::parse_number(text.substr(key.size()));
  return true;
}

bool read_parameter(const UpstreamBlock& block, std::string_view text, Server& server) {
  std::optional<int64_t> value;
  if (take_number(text, "weight=", value)) {
    if (!value || *value == 0) return false;
    server.weight = static_cast<uint64_t>(*value);
    return true;
  }
  if (take_number(text, "max_conns=", value)) {
    if (!value) return false;
    server.max_connections = static_cast<uint32_t>(std::min<int64_t>(*value, INT32_MAX));
    return true;
  }
  if (take_number(text, "max_fails=", value)) {
    if (!value) return false;
    server.max_fails = static_cast<uint32_t>(std::min<int64_t>(*value, INT32_MAX));
    return true;
  }
  if (text.starts_with("fail_timeout=")) {
    value = conf::parse_seconds(text.substr(13));
    if (!value) return false;
    server.fail_timeout_milliseconds = static_cast<uint64_t>(*value) * 1000;
    return true;
  }
  if (text == "backup") return server.backup = true;
  if (text == "down") return server.down = true;
  if (text == "resolve") return server.resolve = true;
  if (text.starts_with("slow_start=")) {
    value = conf::parse_milliseconds(text.substr(11));
    if (!value) return false;
    server.slow_start_milliseconds = static_cast<uint64_t>(*value);
    return true;
  }
  if (text.starts_with("service=")) {
    server.service = text.substr(8);
    return true;
  }
  if (block.is_stream) return false;
  if (text == "drain") return server.drain = true;
  if (text.starts_with("route=")) {
    server.route = text.substr(6);
    return !server.route.empty();
  }
  return false;
}

void refuse_slow_start(Compiler& compiler, const Statement& at, const conf::Word& word) {
  compiler.error(at, "balancing method does not support parameter \"slow_start\"",
                 "hash, ip_hash and random choose without looking at it", &word);
}

// What `service=` asks of the rest of its line.
bool check_service(Compiler& compiler, const Server& server, const conf::Url& url,
                   const Statement& at) {
  const std::string what = "service upstream \"" + url.text + "\" ";
  if (!server.resolve) {
    compiler.error(at, what + "requires \"resolve\" parameter");
    return false;
  }
  if (!url.no_port) {
    compiler.error(at, what + "may not have port", "The records of the service say it.",
                   &at.words[1]);
    return false;
  }
  if (url.kind != conf::Url::Kind::name) {
    compiler.error(at, what + "requires domain name", {}, &at.words[1]);
    return false;
  }
  return true;
}

}  // namespace

void read_server(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  if (!block.cluster) return;
  Server server;
  server.name = at.argument(0);
  for (size_t i = 1; i < at.argument_count(); ++i) {
    if (at.argument(i) == "backup" && !block.backup_allowed) {
      return compiler.error(at, "balancing method does not support parameter \"backup\"",
                            "hash, ip_hash and random know no backup servers", &at.words[i + 1]);
    }
    if (at.argument(i).starts_with("slow_start=") && !block.backup_allowed) {
      return refuse_slow_start(compiler, at, at.words[i + 1]);
    }
    if (at.argument(i) == "service=") {
      return compiler.error(at, "service name is empty", {}, &at.words[i + 1]);
    }
    if (!read_parameter(block, at.argument(i), server)) {
      return compiler.invalid_parameter(at, at.words[i + 1]);
    }
  }
  conf::UrlRules rules;
  if (block.default_port) rules.default_port = block.default_port;
  rules.no_resolve = server.resolve;
  const conf::Url url = conf::parse_url(compiler.world(), at.argument(0), rules);
  if (!url.ok()) {
    const std::string text = url.problem + " in upstream \"" + url.text + "\"";
    // Without a port there is more to be said, but this comes first.
    const bool complete = !block.is_stream || !url.no_port;
    if (url.problem != "host not found" || !complete) {
      return compiler.error(at, text, {}, &at.words[1]);
    }
    block.unresolved.push_back({&at, text});
    server.unresolved = true;
  }
  if (block.is_stream && url.no_port && server.service.empty()) {
    return compiler.error(at, "no port in upstream \"" + url.text + "\"",
                          "There is no usual port here: write host:port.", &at.words[1]);
  }
  if (!server.service.empty() && !check_service(compiler, server, url, at)) return;
  if (url.kind == conf::Url::Kind::name) {
    server.host = url.host;
    server.port = url.port;
  } else {
    server.resolve = false;  // nothing to follow
  }
  for (const conf::SocketAddress& address : url.addresses) {
    server.addresses.push_back(net::Address::from_bytes(address.bytes));
  }
  block.cluster->servers.push_back(std::move(server));
}

// Weights are proportions: large ones are halved together until sums of them cannot overflow. A
// consistent hash has 160 points in memory for each unit of weight.
void settle_weights(Compiler& compiler, upstream::Cluster& cluster, const Statement& at) {
  constexpr uint64_t kMostOfRing = 1'000'000;
  uint64_t largest = 0;
  uint64_t sum = 0;
  for (const Server& server : cluster.servers) {
    largest = std::max(largest, server.weight);
    const uint64_t peers = std::max<size_t>(server.addresses.size(), 1);
    sum += std::min(server.weight, kMostOfRing + 1) * peers;
  }
  if (cluster.method == Method::consistent_hash && sum > kMostOfRing) {
    compiler.error_at_close(at, "too large weights for \"hash ... consistent\"",
                            "Together they may be 1000000; only their proportions count.");
  }
  int shift = 0;
  while (largest >> shift > INT32_MAX) ++shift;
  for (Server& server : cluster.servers) {
    server.weight = std::max<uint64_t>(server.weight >> shift, 1);
  }
}

void read_block_resolver(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  std::vector<std::string> words;
  if (!read_resolver(compiler, at, true, words)) return;
  if (block.cluster) block.cluster->resolver = std::move(words);
}

void read_block_resolver_timeout(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  const std::optional<int64_t> value = conf::parse_milliseconds(at.argument(0));
  if (!value) {
    return compiler.error(at, "\"resolver_timeout\" directive invalid value", {}, &at.words[1]);
  }
  if (block.cluster) block.cluster->resolver_timeout = *value;
}

void read_retry_budget(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  constexpr std::string_view kForm = "retry_budget PERCENT% [min=RATEr/s] [window=TIME]";
  constexpr int64_t kMostPercent = 1000;
  constexpr int64_t kMostRate = 1'000'000;
  constexpr int64_t kMostWindow = 3'600'000;
  upstream::RetryBudget budget;
  budget.enabled = true;
  std::string_view share = at.argument(0);
  const bool is_share = share.ends_with('%');
  if (is_share) share.remove_suffix(1);
  const auto percent = conf::parse_number(share);
  if (!is_share || !percent || *percent > kMostPercent) {
    return compiler.invalid_parameter(at, at.words[1], std::string(kForm));
  }
  budget.percent = static_cast<uint32_t>(*percent);
  for (size_t i = 1; i < at.argument_count(); ++i) {
    std::string_view text = at.argument(i);
    bool ok = false;
    if (text.starts_with("min=")) {
      text.remove_prefix(4);
      const int64_t per_minute = text.ends_with("r/m") ? 60 : 1;
      const bool is_rate = text.ends_with("r/s") || text.ends_with("r/m");
      if (is_rate) text.remove_suffix(3);
      const auto rate = conf::parse_number(text);
      ok = is_rate && rate && *rate <= kMostRate;
      if (ok) budget.least_per_thousand_seconds = static_cast<uint32_t>(*rate * 1000 / per_minute);
    } else if (text.starts_with("window=")) {
      const auto time = conf::parse_milliseconds(text.substr(7));
      ok = time && *time >= 1000 && *time <= kMostWindow;
      if (ok) budget.window_milliseconds = static_cast<uint32_t>(*time);
    }
    if (!ok) return compiler.invalid_parameter(at, at.words[i + 1], std::string(kForm));
  }
  if (block.cluster) block.cluster->retry_budget = budget;
}

void set_method(Compiler& compiler, UpstreamBlock& block, const Statement& at, Method method,
                bool backup_allowed) {
  if (block.method_seen) compiler.warn(at, "load balancing method redefined");
  block.method_seen = true;
  block.backup_allowed = backup_allowed;
  for (const Server& server : block.cluster ? block.cluster->servers : std::vector<Server>()) {
    if (!backup_allowed && server.slow_start_milliseconds) {
      return refuse_slow_start(compiler, at, at.words[0]);
    }
  }
  if (block.cluster) block.cluster->method = method;
}

void read_hash(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  conf::Template key = compiler.make_template(at, at.words[1]);
  const bool consistent = at.argument_count() == 2;
  if (consistent && at.argument(1) != "consistent") {
    return compiler.invalid_parameter(at, at.words[2], "hash KEY [consistent]");
  }
  set_method(compiler, block, at, consistent ? Method::consistent_hash : Method::hash, false);
  if (block.cluster) block.cluster->balancing.key = std::move(key);
}

void read_ip_hash(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  set_method(compiler, block, at, Method::ip_hash, false);
}

void read_least_conn(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  set_method(compiler, block, at, Method::least_connections, true);
}

namespace {

std::optional<Balancing::Time> time_of(std::string_view word, bool stream) {
  // The first byte of an answer is the head of http's, and what a session's connect takes is kept
  // in the same place.
  if (word == "last_byte") return Balancing::Time::last_byte;
  if (!stream && word == "header") return Balancing::Time::header;
  if (stream && word == "first_byte") return Balancing::Time::header;
  if (stream && word == "connect") return Balancing::Time::header;
  return {};
}

}  // namespace

void read_least_time(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  const auto time = time_of(at.argument(0), block.is_stream);
  if (!time) return compiler.invalid_parameter(at, at.words[1], "least_time header | last_byte");
  const bool in_flight = at.argument_count() == 2;
  if (in_flight && at.argument(1) != "inflight") {
    return compiler.invalid_parameter(at, at.words[2], "least_time header | last_byte [inflight]");
  }
  set_method(compiler, block, at, Method::least_time, true);
  if (!block.cluster) return;
  block.cluster->balancing.time = *time;
  block.cluster->balancing.connect = at.argument(0) == "connect";
  block.cluster->balancing.in_flight = in_flight;
}

void read_random(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  Balancing balancing;
  if (at.argument_count() > 0) {
    if (at.argument(0) != "two") {
      return compiler.invalid_parameter(at, at.words[1], "random [two [least_conn]]");
    }
    balancing.two = true;
  }
  if (at.argument_count() > 1 && at.argument(1) != "least_conn") {
    return compiler.invalid_parameter(at, at.words[2], "random [two [least_conn]]");
  }
  set_method(compiler, block, at, Method::random, false);
  if (block.cluster) block.cluster->balancing = std::move(balancing);
}

void read_zone(Compiler& compiler, UpstreamBlock& block, const Statement& at) {
  const std::string_view name = at.argument(0);
  if (name.empty()) {
    return compiler.error(at, "invalid zone name \"\"", {}, &at.words[1]);
  }
  uint64_t size = 0;
  if (at.argument_count() == 2) {
    const std::string text(at.argument(1));
    const auto parsed = conf::parse_size(text);
    if (!parsed || *parsed > zone::kLargestZone) {
      return compiler.error(at, "invalid zone size \"" + text + "\"", {}, &at.words[2]);
    }
    if (*parsed < zone::kSmallestZone) {
      return compiler.error(at, "zone \"" + std::string(name) + "\" is too small",
                            "the smallest zone is 32k", &at.words[2]);
    }
    size = *parsed;
  }
  auto zone = zone::registry(compiler).declare(compiler, at, name, size, block.zone_kind);
  if (!zone) return;
  zone->settle = &upstream::PeerSet::settle;
  if (block.cluster) block.cluster->zone = std::move(zone);
}

}  // namespace weir::shared
