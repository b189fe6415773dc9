#pragma once

#include <string>
#include <string_view>

#include "confparse/variables.h"
#include "engine/tls/layer.h"

// The $ssl_* variables that http and stream share. Each subsystem says how its source tells the
// connection's layer (null: not TLS).
namespace weir::shared::ssl {

using LayerOf = const tls::Layer* (*)(conf::VariableSource&);

// The text of the variable `data` on this layer, in the source's memory.
conf::Value value_of(conf::VariableSource& source, const tls::Layer* layer, uintptr_t data);
// `legacy`: $ssl_client_s_dn_legacy and its like too.
void define_with(conf::VariableTable& variables, conf::VariableGet get, bool legacy);

template <LayerOf layer_of>
conf::Value get(conf::VariableSource& source, const conf::Variable& variable) {
  return value_of(source, layer_of(source), variable.data);
}
template <LayerOf layer_of>
void define_variables(conf::VariableTable& variables, bool legacy) {
  define_with(variables, get<layer_of>, legacy);
}

}  // namespace weir::shared::ssl
