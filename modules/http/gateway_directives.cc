#include "modules/http/gateway_directives.h"

#include "confparse/address.h"
#include "engine/http/builder.h"
#include "engine/http/request.h"

namespace weir::http {
namespace {

constexpr std::string_view kHiddenByDefault[] = {"Date",
                                                 "Server",
                                                 "X-Pad",
                                                 "X-Accel-Expires",
                                                 "X-Accel-Redirect",
                                                 "X-Accel-Limit-Rate",
                                                 "X-Accel-Buffering",
                                                 "X-Accel-Charset"};

}  // namespace

void read_header_rule(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& at,
                      HeaderRules& rules) {
  if (compiler.first_use(scope)) rules.list.clear();
  HeaderRule rule;
  rule.name = at.argument(0);
  rule.id = find_header_id(rule.name);
  rule.value = compiler.make_template(at, at.words[2]);
  rules.list.push_back(std::move(rule));
}

void settle_hidden(GatewaySettings& settings) {
  settings.hidden = {};
  for (const std::string_view name : kHiddenByDefault) settings.hidden.add(name);
  for (const std::string& name : settings.hide_headers) settings.hidden.add(name);
  for (const std::string& name : settings.pass_headers) settings.hidden.remove(name);
}

void settle_names(HeaderRules& rules, std::span<const std::string_view> defaults) {
  rules.names = {};
  for (const std::string_view name : defaults) rules.names.add(name);
  for (const HeaderRule& rule : rules.list) rules.names.add(rule.name);
}

std::string connection_traits(std::string_view protocol, const GatewaySettings& settings) {
  std::string traits(protocol);
  if (settings.bind.enabled) {
    traits += " bind=" + settings.bind.address.text() + (settings.bind.transparent ? "!" : "");
  }
  if (settings.socket_keepalive) traits += " keepalive";
  if (settings.socket_receive_buffer.value || settings.socket_send_buffer.value) {
    traits += " buffers=" + std::to_string(settings.socket_receive_buffer.value) + "," +
              std::to_string(settings.socket_send_buffer.value);
  }
  return traits;
}

std::string place_of_scope(conf::Compiler& compiler, const conf::Scope& scope) {
  Builder& build = builder(compiler);
  std::string place = "S" + std::to_string(build.graph().servers.size());
  for (const Location* at = build.current_location; at; at = at->parent) place += "/" + at->name;
  if (scope.context() == conf::kIfInLocation) place += " if";
  if (scope.context() == conf::kLimitExcept) place += " limit_except";
  return place;
}

const upstream::Cluster* find_cluster(const Request& request, const conf::Url& url) {
  const std::string host = url.kind == conf::Url::Kind::unix_socket ? "unix:" + url.host : url.host;
  for (const auto& known : request.graph().clusters) {
    const bool same_port = known->default_port == 0 ? url.no_port : known->default_port == url.port;
    if (same_port && conf::equal_without_case(known->host, host)) return known.get();
  }
  return nullptr;
}

}  // namespace weir::http
