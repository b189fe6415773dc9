#pragma once

#include "modules/shared/upstream.h"

namespace weir::http {

using UpstreamBuilder = shared::HttpUpstreams;

}  // namespace weir::http
