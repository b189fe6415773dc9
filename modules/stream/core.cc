#include "modules/stream/core.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/core/error_log.h"
#include "modules/shared/hash_size.h"
#include "modules/shared/resolver.h"
#include "modules/shared/server_name.h"
#include "modules/stream/modules.h"

// ngx_stream_core_module: the directive table and the blocks.
namespace weir::stream::core {

namespace {

using namespace conf;  // contexts, forms, setters: the vocabulary of a directive table

// Knobs of nginx's internals: checked, and nothing to do here (docs/differences.md).
struct TuningSettings {
  Number variables_hash_max_size, variables_hash_bucket_size;
  Number server_names_hash_max_size, server_names_hash_bucket_size;
};

void read_stream(Compiler& compiler, Scope& main, const Statement& statement) {
  Builder& build = builder(compiler);
  Graph& graph = build.graph();
  graph.scope = std::make_unique<Scope>(kStream, &main);
  build.close_number = statement.block->end_number;
  compiler.use_variables(&graph.variables);
  compiler.begin_root(*graph.scope, kStream);
  compiler.visit(*statement.block, *graph.scope);
  compiler.complete_root(*graph.scope, kStream, *statement.block);
  compiler.report_unknown_variables(build.close_number, kStageVariables, *statement.block);
  compiler.use_variables(nullptr);
}

void read_server(Compiler& compiler, Scope& stream, const Statement& statement) {
  Builder& build = builder(compiler);
  auto server = std::make_unique<Server>();
  server->scope = std::make_unique<Scope>(kStreamServer, &stream);
  Server& read = *server;
  build.current_server = &read;
  build.graph().servers.push_back(std::move(server));
  build.server_statements[&read] = &statement;
  compiler.visit(*statement.block, *read.scope);
  if (!take_server_listens(compiler)) {
    compiler.error_at_close(statement, "no \"listen\" is defined for server",
                            "a stream server has no usual port: say where it listens");
  }
  if (read.names.empty()) read.names.emplace_back();
  build.current_server = nullptr;
}

void set_error_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  ErrorLogTargets targets;
  const auto& before = scope.get<CoreSettings>().error_log;
  if (before && !compiler.first_use(scope)) targets = *before;
  if (!read_error_log(compiler, statement, targets)) return;
  scope.write<CoreSettings>().error_log =
      std::make_shared<const ErrorLogTargets>(std::move(targets));
}

void set_resolver(Compiler& compiler, Scope& scope, const Statement& statement) {
  std::vector<std::string> words;
  if (shared::read_resolver(compiler, statement, false, words)) {
    scope.write<CoreSettings>().resolver = std::move(words);
  }
}

constexpr uint32_t kBoth = kStream | kStreamServer;

constexpr Directive kDirectives[] = {
    {.name = "stream",
     .where = kMain,
     .form = Form::block,
     .set = read_stream,
     .doc = "Holds the configuration of TCP and UDP proxying."},
    {.name = "server",
     .where = kStream,
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = read_server,
     .doc = "A server: where it listens and what it does with a session."},
    {.name = "listen",
     .where = kStreamServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_listen,
     .doc = "An address to accept sessions on."},
    {.name = "server_name",
     .where = kStreamServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_server_name,
     .doc = "Names that choose this server among those of its address."},
    {.name = "error_log",
     .where = kBoth,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_error_log,
     .doc = "Where problems of these sessions are logged, and from which level on."},
    {.name = "preread_buffer_size",
     .where = kBoth,
     .args = {1, 1},
     .initial = "16k",
     .set = into<&CoreSettings::preread_buffer_size>,
     .doc = "Most bytes that are looked at before a session is served."},
    {.name = "preread_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "30s",
     .set = into<&CoreSettings::preread_timeout>,
     .doc = "Time for that."},
    {.name = "proxy_protocol_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "30s",
     .set = into<&CoreSettings::proxy_protocol_timeout>,
     .doc = "Time for a whole PROXY protocol header."},
    {.name = "resolver",
     .where = kBoth,
     .args = {0, kNoLimit},
     .set = set_resolver,
     .doc = "Name servers for names that are known at run time only."},
    {.name = "resolver_timeout",
     .where = kBoth,
     .args = {1, 1},
     .initial = "30s",
     .set = into<&CoreSettings::resolver_timeout>,
     .doc = "Time for one such name."},
    {.name = "tcp_nodelay",
     .where = kBoth,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&CoreSettings::tcp_nodelay>,
     .doc = "TCP_NODELAY on connections of clients and upstreams."},
    {.name = "variables_hash_max_size",
     .where = kStream,
     .args = {1, 1},
     .initial = "1024",
     .set = into<&TuningSettings::variables_hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "variables_hash_bucket_size",
     .where = kStream,
     .args = {1, 1},
     .initial = "64",
     .set = into<&TuningSettings::variables_hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_max_size",
     .where = kStream,
     .args = {1, 1},
     .initial = "512",
     .set = into<&TuningSettings::server_names_hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_bucket_size",
     .where = kStream,
     .args = {1, 1},
     .initial = "64",
     .set = into<&TuningSettings::server_names_hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
};

void prepare(Compiler& compiler, Scope&) {
  define_variables(compiler);
}

void finish(Compiler& compiler, Scope& self, const Scope*) {
  if (self.context() != kStreamServer) return;
  for (const auto& [server, statement] : builder(compiler).server_statements) {
    if (server->scope.get() != &self || server->content) continue;
    compiler.error(*statement, "no handler for server",
                   "a server needs one of proxy_pass, return and pass");
  }
}

void check_tables(Compiler& compiler, const Scope& root) {
  Builder& build = builder(compiler);
  const auto& sizes = root.get<TuningSettings>();
  const auto check = [&](const char* table, const Number& most, const Number& bucket,
                         uint32_t stage) {
    std::string text = shared::hash_size_problem(table, most.value, bucket.value);
    if (text.empty()) return;
    compiler.late_error(build.close_number, stage, std::move(text), nullptr, shared::kHashSizeHelp);
  };
  // Unknown variables come first.
  check("variables_hash", sizes.variables_hash_max_size, sizes.variables_hash_bucket_size,
        kStageVariables + 1);
  for (const auto& listener : build.graph().listeners) {
    if (!shared::has_plain_names(*listener)) continue;
    check("server_names_hash", sizes.server_names_hash_max_size,
          sizes.server_names_hash_bucket_size, kStageNames);
    break;
  }
}

void complete(Compiler& compiler, Scope& root) {
  complete_listeners(compiler, builder(compiler).close_number);
  check_tables(compiler, root);
}

}  // namespace

}  // namespace weir::stream::core

namespace weir::stream {

const conf::Module kCoreModule{
    .name = "ngx_stream_core_module",
    .directives = core::kDirectives,
    .prepare = core::prepare,
    .finish = core::finish,
    .complete = core::complete,
    .root = conf::kStream,
    .configure_argument = "--with-stream",
};

}  // namespace weir::stream
