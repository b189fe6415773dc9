#pragma once

#include <optional>

#include "confparse/setters.h"

namespace weir::http {

// limit_conn_status and limit_req_status: a number from 400 to 599.
template <auto Member>
void read_limit_status(conf::Compiler& compiler, conf::Scope& scope,
                       const conf::Statement& statement) {
  using Struct = typename conf::MemberParts<decltype(Member)>::struct_type;
  conf::Number value;
  if (!conf::read_setting(compiler, scope, statement, value)) return;
  if (value.value < 400 || value.value > 599) {
    compiler.error(statement, "value must be between 400 and 599", {}, &statement.words[1]);
    return;
  }
  scope.write<Struct>().*Member = value;
}

}  // namespace weir::http
