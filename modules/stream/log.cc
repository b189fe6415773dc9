#include <algorithm>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "engine/worker.h"
#include "modules/shared/access_log.h"
#include "modules/shared/late_values.h"
#include "modules/shared/rows.h"
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
  bool all_early = true;  // every line can be rendered before a session's end
};

// What is known only at the end. Their getters ask the session, and nothing of the configuration.
constexpr std::string_view kLate[] = {
    "bytes_sent",
    "bytes_received",
    "session_time",
    "status",
    "msec",
    "time_local",
    "time_iso8601",
    "upstream_bytes_sent",
    "upstream_bytes_received",
    "upstream_first_byte_time",
    "upstream_session_time",
};

bool is_late(std::string_view name) {
  return std::find(std::begin(kLate), std::end(kLate), name) != std::end(kLate);
}

void read_format(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.state<LogState>().formats.read(compiler, statement);
}

void read_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<LogSettings>();
  if (compiler.first_use(scope)) {
    settings.logs.clear();
    settings.off = false;
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

constexpr Directive kOwn[] = {
    {.name = "access_log",
     .where = kBoth,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = read_log,
     .doc = "Where sessions are logged when they end, and how."},
};
constexpr auto kDirectives =
    join_rows(shared::log_rows(kStream, kBoth, read_format, read_file_cache), kOwn);

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

// --- sessions that let go of their configuration

class LateLine final : public LateLog {
 public:
  LateLine(Session& session, const AccessLog& log, const shared::FileCache& cache)
      : log_(log), cache_(cache), escape_(log.format->escape) {
    if (!log.path_template.empty()) path_ = log.path_template.evaluate(session);
    for (const shared::LogFormat::Piece& piece : log.format->pieces) {
      if (piece.variable == conf::kNoVariable) {
        text_ += piece.literal;
        continue;
      }
      const Variable& variable = session.graph().variables[piece.variable];
      if (is_late(variable.name)) {
        holes_.push_back({text_.size(), variable.get});
      } else {
        shared::append_escaped(text_, session.variable(piece.variable), escape_);
      }
    }
    // They belong to the configuration. (That there is a template says how the path is used.)
    log_.format = nullptr;
    log_.condition = {};
  }

  void finish(Session& session) override {
    static const Variable nothing;
    std::string line;
    size_t at = 0;
    for (const Hole& hole : holes_) {
      line.append(text_, at, hole.position - at);
      shared::append_escaped(line, hole.get(session, nothing), escape_);
      at = hole.position;
    }
    line.append(text_, at);
    line += '\n';
    const int error = shared::Lines::write(session.worker(), log_, cache_, path_, line);
    if (error != 0) session.log(Severity::crit, "open() \"" + path_ + "\" failed", error);
  }

 private:
  struct Hole {
    size_t position;
    VariableGet get;
  };
  AccessLog log_;
  shared::FileCache cache_;
  shared::LogEscape escape_;
  std::string path_;
  std::string text_;
  std::vector<Hole> holes_;
};

class LateLines final : public LateLog {
 public:
  std::vector<LateLine> lines;
  void finish(Session& session) override {
    for (LateLine& line : lines) line.finish(session);
  }
};

std::unique_ptr<LateLog> log_late(Session& session) {
  const auto& settings = session.settings<LogSettings>();
  if (settings.off) return nullptr;
  auto all = std::make_unique<LateLines>();
  for (const AccessLog& log : settings.logs) {
    if (!log.condition.empty()) {
      const std::string_view value = log.condition.evaluate(session);
      if (value.empty() || value == "0") continue;
    }
    all->lines.emplace_back(session, log, settings.file_cache);
  }
  if (all->lines.empty()) return nullptr;
  return all;
}

bool can_render_early(const LogSettings& settings, const VariableTable& variables) {
  bool early = true;
  const auto check = [&](VariableId id) {
    early = early && !shared::reads_late(id, variables, is_late);
  };
  for (const AccessLog& log : settings.logs) {
    log.condition.for_each_variable(check);
    log.path_template.for_each_variable(check);
    for (const shared::LogFormat::Piece& piece : log.format->pieces) {
      if (piece.variable != conf::kNoVariable && !is_late(variables[piece.variable].name)) {
        check(piece.variable);
      }
    }
  }
  return early;
}

void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  if (parent && self.same<LogSettings>(*parent)) return;
  auto& state = compiler.state<LogState>();
  state.all_early =
      state.all_early && can_render_early(self.get<LogSettings>(), compiler.variables());
}

void complete(Compiler& compiler, Scope&) {
  auto& hooks = builder(compiler).graph().hooks;
  hooks.log_handlers.push_back(log_session);
  hooks.late_log_handlers.push_back(log_late);
  hooks.sessions_keep_generation = !compiler.state<LogState>().all_early;
}

}  // namespace

const conf::Module kLogModule{
    .name = "ngx_stream_log_module",
    .directives = kDirectives,
    .finish = finish,
    .complete = complete,
    .root = conf::kStream,
};

}  // namespace weir::stream
