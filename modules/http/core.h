#pragma once

#include <span>

#include "confparse/compiler.h"
#include "engine/http/builder.h"

// ngx_http_core_module in parts: directive tables, blocks, listening, values and variables.
// Everything here is called while a configuration is compiled.
namespace weir::http::core {

using conf::Compiler;
using conf::Scope;
using conf::Statement;

// The directive table in parts, by idea (core_files.cc, core_request.cc, core_connection.cc,
// core_answers.cc); core.cc joins them.
std::span<const conf::Directive> file_directives();
std::span<const conf::Directive> request_directives();
std::span<const conf::Directive> connection_directives();
std::span<const conf::Directive> answer_directives();

// blocks (core_blocks.cc)
void read_http(Compiler&, Scope&, const Statement&);
void read_server(Compiler&, Scope&, const Statement&);
void read_location(Compiler&, Scope&, const Statement&);
void read_limit_except(Compiler&, Scope&, const Statement&);
void set_internal(Compiler&, Scope&, const Statement&);
void read_types(Compiler&, Scope&, const Statement&);

// listen, server_name (core_listen.cc)
void read_listen(Compiler&, Scope&, const Statement&);
void read_server_name(Compiler&, Scope&, const Statement&);
void finish_server_addresses(Compiler&, const Statement& server);  // default listen
void complete_listeners(Compiler&, uint32_t closing_number);       // names, sockets

// values with rules of their own (core_values.cc)
void set_root(Compiler&, Scope&, const Statement&);
void set_error_page(Compiler&, Scope&, const Statement&);
void set_max_body_size(Compiler&, Scope&, const Statement&);
void set_keepalive_timeout(Compiler&, Scope&, const Statement&);
void set_large_client_header_buffers(Compiler&, Scope&, const Statement&);
void set_limit_rate(Compiler& compiler, Scope& scope, const Statement& statement);
void set_limit_rate_after(Compiler& compiler, Scope& scope, const Statement& statement);
void set_output_buffers(Compiler&, Scope&, const Statement&);
void set_aio(Compiler&, Scope&, const Statement&);
void set_directio(Compiler&, Scope&, const Statement&);
void set_disable_symlinks(Compiler&, Scope&, const Statement&);
void set_open_file_cache(Compiler&, Scope&, const Statement&);
void set_resolver(Compiler&, Scope&, const Statement&);
void set_pool_size(Compiler&, Scope&, const Statement&);
void set_early_hints(Compiler&, Scope&, const Statement&);
// client_body_early_read, at the beginning of the first phase.
PhaseResult read_body_early(Request&);
void set_client_body_temp_path(Compiler&, Scope&, const Statement&);
void set_error_log(Compiler&, Scope&, const Statement&);

// variables (core_variables.cc, core_variables_response.cc)
void define_variables(Compiler&);

}  // namespace weir::http::core

namespace weir::http {

struct TempPath;
// client_body_temp_path, proxy_temp_path and their like: a folder and up to three levels; the
// folder is wanted from the outside (core_values.cc).
void read_temp_path(conf::Compiler& compiler, const conf::Statement& statement, TempPath& to);

}  // namespace weir::http
