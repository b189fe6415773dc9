#include "modules/http/log.h"

#include <sys/stat.h>

#include <cerrno>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/core_settings.h"
#include "engine/http/files.h"
#include "engine/http/graph.h"
#include "engine/http/request.h"
#include "engine/http/tunnel_handover.h"
#include "engine/worker.h"
#include "modules/http/core_variables.h"
#include "modules/http/modules.h"
#include "modules/shared/rows.h"

// ngx_http_log_module: access_log, log_format, open_log_file_cache.
namespace weir::http::log {

namespace {

using namespace conf;

#ifndef WEIR_HTTP_LOG_PATH
#define WEIR_HTTP_LOG_PATH "logs/access.log"
#endif

constexpr std::string_view kCombined =
    "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
    "\"$http_referer\" \"$http_user_agent\"";

class LogState final : public CompilerState {
 public:
  shared::LogFormats formats;
  bool all_early = true;  // every line of the configuration can be rendered when a tunnel begins
};

void read_format(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.state<LogState>().formats.read(compiler, statement);
}

void read_access_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<LogSettings>();
  if (compiler.first_use(scope)) {
    settings.logs.clear();
    settings.off = false;
  }
  settings.given = !is_default_statement(compiler, statement);
  if (statement.argument(0) == "off") {
    if (statement.argument_count() > 1) compiler.invalid_parameter(statement, statement.words[2]);
    settings.off = true;
    return;
  }
  AccessLog log;
  const auto& formats = compiler.state<LogState>().formats;
  if (!shared::read_access_log(compiler, statement, formats, "combined", log)) return;
  settings.logs.push_back(std::move(log));
}

void set_file_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  FileCache cache;
  if (!shared::read_log_file_cache(compiler, statement, cache)) return;
  scope.write<LogSettings>().file_cache = cache;
}

void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  const auto& settings = self.get<LogSettings>();
  if (self.context() == kServer && !settings.given) {
    for (const AccessLog& log : settings.logs)
      compiler.state<ResourceList>().want_log_file(log.path);
  }
  if (parent && self.same<LogSettings>(*parent)) return;
  auto& state = compiler.state<LogState>();
  state.all_early =
      state.all_early && can_render_early(self.get<LogSettings>(), compiler.variables());
}

constexpr uint32_t kPlaces = kHttpServerLocation | kIfInLocation | kLimitExcept;

constexpr Directive kOwn[] = {
    {.name = "access_log",
     .where = kPlaces,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .initial = WEIR_HTTP_LOG_PATH " combined",
     .merge = Merge::replace_list,
     .set = read_access_log,
     .doc = "Where requests are logged, and how."},
};
constexpr auto kDirectives =
    join_rows(shared::log_rows(kHttp, kHttpServerLocation, read_format, set_file_cache), kOwn);

void prepare(Compiler& compiler, Scope&) {
  compiler.state<LogState>().formats.add_built_in(compiler, "combined", kCombined);
}

void complete(Compiler& compiler, Scope&) {
  auto& hooks = builder(compiler).graph().hooks;
  hooks.log_handlers.push_back(log_request);
  hooks.tunnel_log_handlers.push_back(log_tunnel);
  if (!compiler.state<LogState>().all_early) hooks.tunnels_keep_exchange = true;
}

// What a log format is evaluated with: the request, with what has been sent by now.
class FreshSource final : public conf::VariableSource {
 public:
  explicit FreshSource(Request& request) : request_(request) {}
  conf::Value variable(conf::VariableId id) override {
    const conf::Variable& variable = request_.graph().variables[id];
    return core::logs_read_anew(variable) ? variable.get(request_, variable)
                                          : request_.variable(id);
  }
  bool match(const conf::Pattern& pattern, std::string_view subject) override {
    return request_.match(pattern, subject);
  }
  char* allocate(size_t size) override { return request_.allocate(size); }

 private:
  Request& request_;
};

}  // namespace

void log_request(Request& request) {
  const auto& settings = request.settings<LogSettings>();
  if (settings.off) return;
  static thread_local std::string line;
  for (const AccessLog& log : settings.logs) {
    if (!log.condition.empty()) {
      const std::string_view value = log.condition.evaluate(request);
      if (value.empty() || value == "0") continue;
    }
    std::string_view path;
    if (!log.path_template.empty()) {
      struct stat info{};
      const std::string root(document_root(request));
      if (::stat(root.c_str(), &info) != 0) {
        // Names from requests must not make logs for hosts that do not exist.
        if (errno != ENOENT && errno != ENOTDIR)
          request.log(Severity::error, "testing \"" + root + "\" existence failed", errno);
        continue;
      }
      path = log.path_template.evaluate(request);
    }
    line.clear();
    FreshSource source(request);
    log.format->append_line(line, source);
    line += '\n';
    const int error = Lines::write(request.worker(), log, settings.file_cache, path, line);
    if (error != 0)
      request.log(Severity::crit, "open() \"" + std::string(path) + "\" failed", error);
  }
}

}  // namespace weir::http::log

namespace weir::http {

const conf::Module kLogModule{
    .name = "ngx_http_log_module",
    .directives = log::kDirectives,
    .prepare = log::prepare,
    .finish = log::finish,
    .complete = log::complete,
};

}  // namespace weir::http
