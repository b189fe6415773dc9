#pragma once

#include "confparse/compiler.h"
#include "modules/shared/forwarded.h"

// set_real_ip_from, once for http and stream.
namespace weir::shared {

struct RealAddressSettings {
  TrustedPeers trusted;
};

void read_real_ip_from(conf::Compiler& compiler, conf::Scope& scope, RealAddressSettings& settings,
                       const conf::Statement& statement);

}  // namespace weir::shared
