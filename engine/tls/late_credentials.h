#pragma once

#include "confparse/variables.h"
#include "engine/tls/layer.h"
#include "engine/tls/server_settings.h"

namespace weir::tls {

// From ServerUser::load_credentials(): evaluates the certificates and keys of `settings` for this
// connection, loads them (or takes them from ssl_certificate_cache), and gives them to the layer.
// False: the layer's failure() says why.
bool load_late_credentials(ServerLayer& layer, const ServerSettings& settings,
                           conf::VariableSource& source);

}  // namespace weir::tls
