#pragma once

#include <string_view>

#include "confparse/compiler.h"
#include "confparse/variables.h"
#include "engine/http/request.h"

// Helpers of the variables of ngx_http_core_module.
namespace weir::http::core {

using conf::Value;
using conf::Variable;
using conf::VariableSource;

inline Request& request_of(VariableSource& source) {
  return static_cast<Request&>(source);
}

// Numbers and times as nginx prints them, in the request's arena.
Value number_value(Request& request, uint64_t number);
Value seconds_value(Request& request, uint64_t milliseconds);  // "12.345"

// All fields whose name is `suffix` of a variable ("x_real_ip" is "X-Real-IP"), joined.
Value joined_fields(Request& request, const HeaderList& fields, std::string_view suffix,
                    std::string_view separator);

struct Definition {
  const char* name;
  conf::VariableGet get;
  bool cacheable = true;
  uintptr_t data = 0;
  bool prefix = false;
  bool changeable = false;
  conf::VariableSet set = nullptr;
};
void define(conf::Compiler& compiler, const Definition& definition);

// core_variables_connection.cc, core_variables_response.cc
void define_connection_variables(conf::Compiler& compiler);
void define_response_variables(conf::Compiler& compiler);
// $bytes_sent, $body_bytes_sent: variables that keep their first value, but log formats show how
// much it was in the end.
bool logs_read_anew(const conf::Variable& variable);

}  // namespace weir::http::core
