#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "engine/upstream/cluster.h"

// Lines of an upstream block that http and stream have in common.
namespace weir::shared {

// The block that is being read.
struct UpstreamBlock {
  upstream::Cluster* cluster = nullptr;  // null: its lines are checked, and go nowhere
  // Of its zone: "http upstream 1"; keeps those of http and stream apart.
  std::string_view zone_kind;
  uint16_t default_port = 0;  // of `server`; 0: one must be given
  bool method_seen = false;
  bool backup_allowed = true;  // and slow_start
  bool is_stream = false;
  // Servers whose names were not found, and nginx's words for it. What comes of that is settled at
  // the end: `upstream_start_unresolved` may come later.
  struct Unresolved {
    const conf::Statement* at;
    std::string text;
  };
  std::vector<Unresolved> unresolved;
};

// server ADDRESS [weight=] [max_conns=] [max_fails=] [fail_timeout=] [backup] [down] [resolve]
// [service=] [slow_start=]; in http [route=] [drain]
void read_server(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
// retry_budget PERCENT% [min=RATE] [window=TIME]
void read_retry_budget(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
// resolver ADDRESS …, resolver_timeout TIME
void read_block_resolver(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
void read_block_resolver_timeout(conf::Compiler& compiler, UpstreamBlock& block,
                                 const conf::Statement& at);
// Balancers. A second one in a block wins, with nginx's warning.
void read_hash(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
void read_ip_hash(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
void read_least_conn(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
void read_random(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
// least_time WORD [inflight]: header, last_byte; in stream connect, first_byte, last_byte.
void read_least_time(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);
// At the end of the block `at`: what the weights together may be.
void settle_weights(conf::Compiler& compiler, upstream::Cluster& cluster,
                    const conf::Statement& at);
// A balancer's warning when there was one before (or `keepalive`).
void set_method(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at,
                upstream::Method method, bool backup_allowed);
// zone NAME [SIZE]
void read_zone(conf::Compiler& compiler, UpstreamBlock& block, const conf::Statement& at);

}  // namespace weir::shared
