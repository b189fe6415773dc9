#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "confparse/template.h"
#include "engine/http/gateway.h"
#include "modules/shared/bind.h"
#include "modules/shared/rows.h"

// The directives that every gateway to HTTP upstreams has under its own prefix: proxy_ and grpc_. A
// module's settings struct holds a GatewaySettings named `gateway` and a HeaderRules named
// `headers`.
namespace weir::http {

// A field of the request to the upstream (proxy_set_header, grpc_set_header).
struct HeaderRule {
  std::string name;
  HeaderId id = HeaderId::other;
  conf::Template value;
};

struct HeaderRules {
  std::vector<HeaderRule> list;
  HeaderNameSet names;  // of the list and of the defaults: not taken from the client
};

// Settings of the configuration's own: what the shared setters do, whatever the struct around it.
void read_header_rule(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& at,
                      HeaderRules& rules);
// For finish(): `hidden` of the settings, `names` of the rules. `defaults`: fields with values of
// their own or none, whatever the client sent.
void settle_hidden(GatewaySettings& settings);
void settle_names(HeaderRules& rules, std::span<const std::string_view> defaults);
// What makes connections of these settings different from others, in words: "http/1.1 bind=…".
std::string connection_traits(std::string_view protocol, const GatewaySettings& settings);
// Tells the scope that is being compiled from other locations, for `keepalive … local`.
std::string place_of_scope(conf::Compiler& compiler, const conf::Scope& scope);
// The group of the configuration that a URL made of variables names, or null.
const upstream::Cluster* find_cluster(const Request& request, const conf::Url& url);

namespace gateway_rows {

using conf::Compiler;
using conf::Scope;
using conf::Statement;

// into<> for the part that all gateways share.
template <class Settings, auto Member>
void into(Compiler& compiler, Scope& scope, const Statement& at) {
  auto value = scope.get<Settings>().gateway.*Member;
  if (conf::read_setting(compiler, scope, at, value)) {
    scope.write<Settings>().gateway.*Member = std::move(value);
  }
}

template <class Settings>
void set_bind(Compiler& compiler, Scope& scope, const Statement& at) {
  shared::read_bind(compiler, at, scope.write<Settings>().gateway.bind);
}

template <class Settings>
void set_header(Compiler& compiler, Scope& scope, const Statement& at) {
  read_header_rule(compiler, scope, at, scope.write<Settings>().headers);
}

// `Words` names the conditions of this module; their bits are those of NextUpstream.
template <class Settings, class Words>
void set_next_upstream(Compiler& compiler, Scope& scope, const Statement& at) {
  conf::Bitmask<Words> value;
  value.bits = scope.get<Settings>().gateway.next_upstream.bits;
  if (conf::read_setting(compiler, scope, at, value)) {
    scope.write<Settings>().gateway.next_upstream.bits = value.bits;
  }
}

}  // namespace gateway_rows

// The rows, for join_rows().
template <class Settings, FixedText Prefix, class NextUpstreamWords>
inline constexpr conf::Directive kGatewayRows[] = {
    {.name = kJoined<Prefix, "bind">,
     .where = conf::kHttpServerLocation,
     .args = {1, 2},
     .set = gateway_rows::set_bind<Settings>,
     .doc = "Local address of connections to upstreams."},
    {.name = kJoined<Prefix, "socket_keepalive">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = gateway_rows::into<Settings, &GatewaySettings::socket_keepalive>,
     .doc = "SO_KEEPALIVE on connections to upstreams."},
    {.name = kJoined<Prefix, "socket_rcvbuf">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .set = gateway_rows::into<Settings, &GatewaySettings::socket_receive_buffer>,
     .doc = "SO_RCVBUF on connections to upstreams."},
    {.name = kJoined<Prefix, "socket_sndbuf">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .set = gateway_rows::into<Settings, &GatewaySettings::socket_send_buffer>,
     .doc = "SO_SNDBUF on connections to upstreams."},
    {.name = kJoined<Prefix, "connect_timeout">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "60s",
     .set = gateway_rows::into<Settings, &GatewaySettings::connect_timeout>,
     .doc = "Time to connect."},
    {.name = kJoined<Prefix, "send_timeout">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "60s",
     .set = gateway_rows::into<Settings, &GatewaySettings::send_timeout>,
     .doc = "Time between two writes to the upstream."},
    {.name = kJoined<Prefix, "read_timeout">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "60s",
     .set = gateway_rows::into<Settings, &GatewaySettings::read_timeout>,
     .doc = "Time between two reads from the upstream."},
    {.name = kJoined<Prefix, "intercept_errors">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = gateway_rows::into<Settings, &GatewaySettings::intercept_errors>,
     .doc = "Applies error_page to responses of the upstream."},
    {.name = kJoined<Prefix, "set_header">,
     .where = conf::kHttpServerLocation,
     .args = {2, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = gateway_rows::set_header<Settings>,
     .doc = "A field of the request to the upstream; an empty value removes it."},
    {.name = kJoined<Prefix, "buffer_size">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "4k",
     .set = gateway_rows::into<Settings, &GatewaySettings::buffer_size>,
     .doc = "Most bytes of a response head."},
    {.name = kJoined<Prefix, "next_upstream">,
     .where = conf::kHttpServerLocation,
     .args = {1, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .initial = "error timeout",
     .merge = conf::Merge::replace_list,
     .set = gateway_rows::set_next_upstream<Settings, NextUpstreamWords>,
     .doc = "When the next server is tried."},
    {.name = kJoined<Prefix, "next_upstream_tries">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "0",
     .set = gateway_rows::into<Settings, &GatewaySettings::next_upstream_tries>,
     .doc = "Most attempts; 0: as many as there are servers."},
    {.name = kJoined<Prefix, "next_upstream_timeout">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .initial = "0",
     .set = gateway_rows::into<Settings, &GatewaySettings::next_upstream_timeout>,
     .doc = "Time in which another attempt may begin; 0: no limit."},
    {.name = kJoined<Prefix, "pass_header">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = gateway_rows::into<Settings, &GatewaySettings::pass_headers>,
     .doc = "A response field that is passed although it is hidden by default."},
    {.name = kJoined<Prefix, "hide_header">,
     .where = conf::kHttpServerLocation,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = gateway_rows::into<Settings, &GatewaySettings::hide_headers>,
     .doc = "A response field that is not passed."},
    {.name = kJoined<Prefix, "ignore_headers">,
     .where = conf::kHttpServerLocation,
     .args = {1, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = gateway_rows::into<Settings, &GatewaySettings::ignore_headers>,
     .doc = "Response fields that have no effect here."},
};

}  // namespace weir::http

template <>
struct weir::conf::EnumWords<weir::http::IgnoredHeader> {
  using E = weir::http::IgnoredHeader;
  static constexpr std::pair<std::string_view, E> words[] = {
      {"X-Accel-Redirect", E::accel_redirect},
      {"X-Accel-Expires", E::accel_expires},
      {"X-Accel-Limit-Rate", E::accel_limit_rate},
      {"X-Accel-Buffering", E::accel_buffering},
      {"X-Accel-Charset", E::accel_charset},
      {"Expires", E::expires},
      {"Cache-Control", E::cache_control},
      {"Set-Cookie", E::set_cookie},
      {"Vary", E::vary}};
};
