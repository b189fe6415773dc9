#pragma once

#include <string_view>

#include "confparse/compiler.h"
#include "confparse/variables.h"
#include "engine/http/request.h"
#include "modules/shared/values.h"

// Helpers of the variables of ngx_http_core_module.
namespace weir::http::core {

using conf::Value;
using conf::Variable;
using conf::VariableSource;
using shared::define;
using shared::Definition;
using shared::number_value;
using shared::seconds_value;

inline Request& request_of(VariableSource& source) {
  return static_cast<Request&>(source);
}

// All fields whose name is `suffix` of a variable ("x_real_ip" is "X-Real-IP"), joined.
Value joined_fields(Request& request, const HeaderList& fields, std::string_view suffix,
                    std::string_view separator);

// core_variables_connection.cc, core_variables_response.cc
void define_connection_variables(conf::Compiler& compiler);
void define_response_variables(conf::Compiler& compiler);
// $bytes_sent, $body_bytes_sent: variables that keep their first value, but log formats show how
// much it was in the end.
bool logs_read_anew(const conf::Variable& variable);

}  // namespace weir::http::core
