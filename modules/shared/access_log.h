#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/template.h"
#include "engine/log/access_sink.h"
#include "engine/log/syslog.h"
#include "modules/shared/log_format.h"

// access_log and open_log_file_cache, once for http and stream: what differs is who evaluates, and
// whether there is a default.
namespace weir {
struct Worker;
}

namespace weir::shared {

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
  bool off = false;    // no line is written, whatever else the block names
  bool given = false;  // by a directive; otherwise `logs` are the default
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

// Reads what follows the name of `access_log`: target, format, options. `default_format` is used
// where none is named; empty: nginx's `log format is not specified`. False after reporting.
bool read_access_log(conf::Compiler& compiler, const conf::Statement& statement,
                     const LogFormats& formats, std::string_view default_format, AccessLog& log);

// Reads `open_log_file_cache`. False after reporting.
bool read_log_file_cache(conf::Compiler& compiler, const conf::Statement& statement,
                         FileCache& cache);

// The rows of log_format and open_log_file_cache; that of access_log is each module's own.
constexpr std::array<conf::Directive, 2> log_rows(uint32_t root, uint32_t where,
                                                  conf::SetFunction read_format,
                                                  conf::SetFunction read_file_cache) {
  return {{{.name = "log_format",
            .where = root,
            .args = {2, conf::kNoLimit},
            .repeat = conf::Repeat::collect,
            .set = read_format,
            .doc = "Names the text of a log line."},
           {.name = "open_log_file_cache",
            .where = where,
            .args = {1, 4},
            .initial = "off",
            .set = read_file_cache,
            .doc = "Keeps log files open whose names hold variables."}}};
}

}  // namespace weir::shared
