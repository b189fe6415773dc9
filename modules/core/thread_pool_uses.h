#pragma once

#include <string>
#include <vector>

#include "confparse/compiler.h"

namespace weir::core {

// Pools named by `aio threads=NAME`, collected while reading; ngx_thread_pool_module checks at the
// end of the file that each is defined somewhere.
class ThreadPoolUses final : public conf::CompilerState {
 public:
  struct Use {
    std::string name;
    const conf::Statement* at = nullptr;
  };
  std::vector<Use> uses;
};

}  // namespace weir::core
