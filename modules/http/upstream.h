#pragma once

#include "confparse/schema.h"
#include "modules/shared/upstream.h"

namespace weir::http {

extern const conf::Module kUpstreamModule;

using UpstreamBuilder = shared::HttpUpstreams;

}  // namespace weir::http
