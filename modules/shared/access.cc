#include "modules/shared/access.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace weir::shared {

void read_access_rule(conf::Compiler& compiler, conf::Scope& scope,
                      const conf::Statement& statement) {
  auto& settings = scope.write<AccessSettings>();
  if (!compiler.used(scope, "allow") && !compiler.used(scope, "deny")) settings.rules.clear();
  AccessRule rule;
  rule.deny = statement.name() == "deny";
  const std::string_view text = statement.argument(0);
  if (text == "all") {
    rule.whom = AccessRule::Whom::all;
  } else if (text == "unix:") {
    rule.whom = AccessRule::Whom::unix_sockets;
  } else {
    rule.whom = AccessRule::Whom::network;
    switch (conf::parse_cidr(text, rule.network)) {
      case conf::CidrResult::invalid:
        compiler.error(
            statement, "invalid parameter \"" + std::string(text) + "\"",
            "an address, a network such as 10.0.0.0/8, all, or unix:", &statement.words[1]);
        return;
      case conf::CidrResult::low_bits:
        compiler.warn(statement, "low address bits of " + std::string(text) + " are meaningless",
                      {}, &statement.words[1]);
        break;
      case conf::CidrResult::ok:
        break;
    }
  }
  settings.rules.push_back(rule);
}

namespace {

bool fits(const AccessRule& rule, const net::Address& client) {
  switch (rule.whom) {
    case AccessRule::Whom::all:
      return true;
    case AccessRule::Whom::unix_sockets:
      return client.is_unix();
    case AccessRule::Whom::network:
      break;
  }
  const net::Address plain = client.unmapped();
  const std::string_view bytes = plain.binary();
  if (bytes.size() == 4) {
    uint32_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    return !rule.network.ipv6 && rule.network.contains_ipv4(ntohl(word));
  }
  if (bytes.size() != 16) return false;
  const auto* raw = reinterpret_cast<const uint8_t*>(bytes.data());
  return rule.network.ipv6 && rule.network.contains_ipv6(raw);
}

}  // namespace

AccessVerdict judge(const AccessSettings& settings, const net::Address& client) {
  for (const AccessRule& rule : settings.rules) {
    if (fits(rule, client)) return rule.deny ? AccessVerdict::denied : AccessVerdict::allowed;
  }
  return AccessVerdict::no_rule;
}

}  // namespace weir::shared
