#pragma once

#include <memory>
#include <string>
#include <vector>

#include "confparse/variables.h"
#include "modules/shared/access_log.h"
#include "modules/shared/log_format.h"

// ngx_http_log_module: settings, shared by its files.
namespace weir::http {
class LateLog;
class Request;
}  // namespace weir::http

namespace weir::http::log {

using shared::AccessLog;
using shared::FileCache;
using shared::Lines;
using shared::LogSettings;

void log_request(Request& request);
// Null when nothing is to be logged.
std::unique_ptr<LateLog> log_tunnel(Request& request);
// Can every line of a tunnel be rendered when it begins (log_tunnel.cc)?
bool can_render_early(const LogSettings& settings, const conf::VariableTable& variables);

}  // namespace weir::http::log
