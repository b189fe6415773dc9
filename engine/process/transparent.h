#pragma once

#include "confparse/compiler.h"

namespace weir::process {

// Does any directive want to send from addresses that are not ours (`proxy_bind … transparent`)?
// Workers keep the capability for it, then. Modules set it while a configuration is compiled.
struct TransparentUse final : conf::CompilerState {
  bool any = false;
};

}  // namespace weir::process
