#pragma once

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
  std::vector<AccessRule> rules;       // in reading order: the first that fits decides
  const conf::Scope* scope = nullptr;  // whose block set them
};

// Reads `allow` or `deny`, told apart by the statement's name.
void read_access_rule(conf::Compiler& compiler, const conf::Scope& scope, AccessSettings& settings,
                      const conf::Statement& statement);

enum class AccessVerdict : uint8_t { no_rule, allowed, denied };
AccessVerdict judge(const AccessSettings& settings, const net::Address& client);

}  // namespace weir::shared
