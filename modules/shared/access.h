#pragma once

#include <array>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "engine/net/address.h"

// allow and deny, once for http and stream.
namespace weir::shared {

struct AccessRule {
  enum class Whom : uint8_t { all, unix_sockets, network };
  Whom whom = Whom::all;
  bool deny = false;
  conf::Cidr network;
};

struct AccessSettings {
  std::vector<AccessRule> rules;  // in reading order: the first that fits decides
};

// Reads `allow` or `deny`, told apart by the statement's name.
void read_access_rule(conf::Compiler& compiler, conf::Scope& scope,
                      const conf::Statement& statement);

constexpr std::array<conf::Directive, 2> access_rows(uint32_t where) {
  conf::Directive allow{.name = "allow",
                        .where = where,
                        .args = {1, 1},
                        .repeat = conf::Repeat::collect,
                        .merge = conf::Merge::replace_list,
                        .set = read_access_rule,
                        .doc = "Lets clients of this address or network in."};
  conf::Directive deny = allow;
  deny.name = "deny";
  deny.doc = "Refuses clients of this address or network.";
  return {allow, deny};
}

enum class AccessVerdict : uint8_t { no_rule, allowed, denied };
AccessVerdict judge(const AccessSettings& settings, const net::Address& client);

}  // namespace weir::shared
