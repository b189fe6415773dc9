#include "modules/explain/explain.h"

namespace weir::explain {

const conf::Module kExplainModule = {
    .name = "explanations", .usages = usages(), .elsewhere = elsewhere()};

}  // namespace weir::explain
