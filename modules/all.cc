#include "modules/all.h"

#include "modules/core/modules.h"

namespace weir {

std::span<const conf::Module* const> all_modules() {
  static constexpr const conf::Module* modules[] = {
      &core::kCoreModule,  &core::kEventsModule, &core::kEventCoreModule,
      &core::kEpollModule, &core::kRegexModule,  &core::kThreadPoolModule,
  };
  return modules;
}

}  // namespace weir
