#pragma once

#include "confparse/compiler.h"
#include "engine/stream/builder.h"

// ngx_stream_core_module in parts: directives and blocks (core.cc), listening (core_listen.cc),
// variables (core_variables.cc). Everything here is called while a configuration is compiled.
namespace weir::stream::core {

using conf::Compiler;
using conf::Scope;
using conf::Statement;

void read_listen(Compiler&, Scope&, const Statement&);
void read_server_name(Compiler&, Scope&, const Statement&);
// Did the server that is being read say where it listens? Asked once, at its end.
bool take_server_listens(Compiler&);
// Names and sockets, at the closing brace of stream.
void complete_listeners(Compiler&, uint32_t closing_number);

void define_variables(Compiler&);

}  // namespace weir::stream::core
