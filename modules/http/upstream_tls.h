#pragma once

#include <string_view>

#include "confparse/compiler.h"
#include "engine/http/upstream_tls.h"
#include "modules/shared/upstream_tls.h"

namespace weir::http {

// For finish(): what a gateway wants to know of the TLS settings of its location. The context is
// null after problems, which are reported. `prefix` is "proxy_" or "grpc_".
UpstreamTls make_upstream_tls(conf::Compiler& compiler, const UpstreamTlsSettings& settings,
                              std::string_view prefix);

}  // namespace weir::http
