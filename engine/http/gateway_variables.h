#pragma once

#include "confparse/variables.h"

namespace weir::http {

// $upstream_addr and its like, which every module that goes upstream shares
// (ngx_http_upstream_module).
void define_gateway_variables(conf::VariableTable& variables);

}  // namespace weir::http
