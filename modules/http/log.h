#pragma once

#include <memory>
#include <string>
#include <vector>

#include "confparse/scope.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/log/access_sink.h"
#include "engine/log/syslog.h"
#include "modules/shared/log_format.h"

// ngx_http_log_module: settings, shared by its files.
namespace weir {
struct Worker;
}

namespace weir::http {
class LateLog;
class Request;
}  // namespace weir::http

namespace weir::http::log {

// One access_log line.
struct AccessLog {
  std::string path;              // full; empty with `path_template` or syslog
  conf::Template path_template;  // with variables: opened for each line
  std::shared_ptr<const SyslogOptions> syslog;
  std::shared_ptr<const shared::LogFormat> format;
  AccessSinkOptions sink;
  conf::Template condition;  // if=; empty: always
};

// open_log_file_cache
struct FileCache {
  int64_t max = 0;  // 0: off
  int64_t inactive_seconds = 10;
  int64_t valid_seconds = 60;
  int64_t min_uses = 1;
};

struct LogSettings {
  std::vector<AccessLog> logs;
  bool off = false;                    // no line is written, whatever else the block names
  const conf::Scope* scope = nullptr;  // whose block set them; null for the default
  FileCache file_cache;
};

// Writes one finished line (with its line feed) where `log` says. For paths with variables `path`
// is the evaluated one.
class Lines {
 public:
  // 0, or why the file of that name could not be opened.
  static int write(Worker& worker, const AccessLog& log, const FileCache& cache,
                   std::string_view path, std::string_view line);
};

void log_request(Request& request);
// Null when nothing is to be logged.
std::unique_ptr<LateLog> log_tunnel(Request& request);
// Can every line of a tunnel be rendered when it begins (log_tunnel.cc)?
bool can_render_early(const LogSettings& settings, const conf::VariableTable& variables);

}  // namespace weir::http::log
