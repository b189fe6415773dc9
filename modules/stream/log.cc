#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "engine/worker.h"
#include "modules/shared/access_log.h"
#include "modules/stream/modules.h"

// ngx_stream_log_module: registers the shared access logs with stream.
namespace weir::stream {

namespace {

using namespace conf;
using shared::AccessLog;
using shared::LogSettings;

class LogState final : public CompilerState {
 public:
  shared::LogFormats formats;
};

void read_format(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.state<LogState>().formats.read(compiler, statement);
}

void read_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<LogSettings>();
  if (settings.scope != &scope) {
    settings.logs.clear();
    settings.off = false;
    settings.scope = &scope;
  }
  if (statement.argument(0) == "off") {
    if (statement.argument_count() > 1) compiler.invalid_parameter(statement, statement.words[2]);
    settings.off = true;
    return;
  }
  AccessLog log;
  const auto& formats = compiler.state<LogState>().formats;
  if (!shared::read_access_log(compiler, statement, formats, {}, log)) return;
  settings.logs.push_back(std::move(log));
}

void read_file_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  shared::FileCache cache;
  if (!shared::read_log_file_cache(compiler, statement, cache)) return;
  scope.write<LogSettings>().file_cache = cache;
}

constexpr uint32_t kBoth = kStream | kStreamServer;

constexpr Directive kDirectives[] = {
    {.name = "log_format",
     .where = kStream,
     .args = {2, kNoLimit},
     .repeat = Repeat::collect,
     .set = read_format,
     .doc = "Names the text of a log line."},
    {.name = "access_log",
     .where = kBoth,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = read_log,
     .doc = "Where sessions are logged when they end, and how."},
    {.name = "open_log_file_cache",
     .where = kBoth,
     .args = {1, 4},
     .initial = "off",
     .set = read_file_cache,
     .doc = "Keeps log files open whose names hold variables."},
};

void log_session(Session& session) {
  const auto& settings = session.settings<LogSettings>();
  if (settings.off) return;
  static thread_local std::string line;
  for (const AccessLog& log : settings.logs) {
    if (!log.condition.empty()) {
      const std::string_view value = log.condition.evaluate(session);
      if (value.empty() || value == "0") continue;
    }
    std::string_view path;
    if (!log.path_template.empty()) path = log.path_template.evaluate(session);
    line.clear();
    log.format->append_line(line, session);
    line += '\n';
    const int error = shared::Lines::write(session.worker(), log, settings.file_cache, path, line);
    if (error != 0)
      session.log(Severity::crit, "open() \"" + std::string(path) + "\" failed", error);
  }
}

void complete(Compiler& compiler, Scope&) {
  builder(compiler).graph().hooks.log_handlers.push_back(log_session);
}

}  // namespace

const conf::Module kLogModule{
    .name = "ngx_stream_log_module",
    .directives = kDirectives,
    .complete = complete,
    .root = conf::kStream,
};

}  // namespace weir::stream
