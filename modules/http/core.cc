#include "modules/http/core.h"

#include "confparse/setters.h"
#include "engine/http/core_settings.h"
#include "modules/http/modules.h"
#include "modules/shared/hash_size.h"
#include "modules/shared/server_name.h"

// ngx_http_core_module: its blocks, and its directives in one table. Not here: try_files
// (try_files.cc).
namespace weir::http::core {

namespace {

using namespace conf;  // contexts, forms, setters: the vocabulary of a directive table

// Knobs of nginx's internals: checked, and nothing to do here (docs/differences.md).
struct TuningSettings {
  Number variables_hash_max_size, variables_hash_bucket_size;
  Number server_names_hash_max_size, server_names_hash_bucket_size;
  Number types_hash_max_size, types_hash_bucket_size;
};

void read_main_scope(Compiler& compiler, Scope& scope, const Statement& statement) {
  read_http(compiler, scope, statement);
}

constexpr uint32_t kAll = kHttpServerLocation;

constexpr Directive kBlocks[] = {
    {.name = "http",
     .where = kMain,
     .form = Form::block,
     .set = read_main_scope,
     .doc = "Holds the configuration of the HTTP server."},
    {.name = "server",
     .where = kHttp,
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = read_server,
     .doc = "A virtual server."},
    {.name = "location",
     .where = kServer | kLocation,
     .args = {1, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = read_location,
     .doc = "Settings for requests whose URI matches."},
    {.name = "limit_except",
     .where = kLocation,
     .args = {1, kNoLimit},
     .form = Form::block,
     .deferred = true,
     .set = read_limit_except,
     .doc = "Settings for requests with other methods than these."},
    {.name = "listen",
     .where = kServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_listen,
     .doc = "An address to accept connections on."},
    {.name = "server_name",
     .where = kServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set = read_server_name,
     .doc = "Names of the virtual server."},
    {.name = "internal",
     .where = kLocation,
     .args = {0, 0},
     .merge = Merge::own,
     .set = set_internal,
     .doc = "Only internal requests reach this location; others get 404."},
    {.name = "types",
     .where = kAll,
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = read_types,
     .doc = "Maps file name extensions to MIME types."},
    {.name = "default_type",
     .where = kAll,
     .args = {1, 1},
     .initial = "text/plain",
     .set = into<&CoreSettings::default_type>,
     .doc = "MIME type of files whose extension is not in types."},
};

constexpr Directive kHashes[] = {
    {.name = "variables_hash_max_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "1024",
     .set = into<&TuningSettings::variables_hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "variables_hash_bucket_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "64",
     .set = into<&TuningSettings::variables_hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_max_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "512",
     .set = into<&TuningSettings::server_names_hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "server_names_hash_bucket_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "64",
     .set = into<&TuningSettings::server_names_hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "types_hash_max_size",
     .where = kAll,
     .args = {1, 1},
     .initial = "1024",
     .set = into<&TuningSettings::types_hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "types_hash_bucket_size",
     .where = kAll,
     .args = {1, 1},
     .initial = "64",
     .set = into<&TuningSettings::types_hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
};

std::span<const Directive> all_directives() {
  static const std::vector<Directive> directives = [] {
    std::vector<Directive> all;
    for (const std::span<const Directive> part :
         {std::span<const Directive>(kBlocks), file_directives(), request_directives(),
          connection_directives(), answer_directives(), std::span<const Directive>(kHashes)}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return directives;
}

std::shared_ptr<const TypeMap> default_types() {
  static const auto types = std::make_shared<const TypeMap>(
      TypeMap{{"html", "text/html"}, {"gif", "image/gif"}, {"jpg", "image/jpeg"}});
  return types;
}

void prepare(Compiler& compiler, Scope& root) {
  define_variables(compiler);
  root.write<CoreSettings>().types = default_types();
}

// nginx makes the table of types where a block defines them, and for servers the one of http.
void check_types(Compiler& compiler, const Scope& self, const Scope* parent) {
  if (!parent || self.context() == kHttp) return;
  const auto& settings = self.get<CoreSettings>();
  const bool own = compiler.used(self, "types");
  if (!own && self.context() != kServer) return;
  const auto& sizes = (own ? self : *parent).get<TuningSettings>();
  if (settings.types->empty() && sizes.types_hash_max_size.value != 0) return;
  shared::check_hash_size(compiler, "types_hash", sizes.types_hash_max_size.value,
                          sizes.types_hash_bucket_size.value);
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

// nginx's pools and header buffers are of one piece; the check is kept.
void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  check_types(compiler, self, parent);
  if (!parent || self.context() != kServer) return;
  const auto& settings = self.get<ServerSettings>();
  if (settings.head_limits.buffer_size >= settings.connection_pool_size.value) return;
  static const Word word{"http", {}, 0};
  Statement closing;
  closing.words = {&word, 1};
  closing.terminator = compiler.root_block().close;
  compiler.error(closing,
                 "the \"large_client_header_buffers\" size must be equal to or greater than "
                 "\"connection_pool_size\"");
}

void complete(Compiler& compiler, Scope& root) {
  builder(compiler).add_phase_handler(Phase::post_read, read_body_early);
  complete_listeners(compiler, builder(compiler).close_number);
  check_tables(compiler, root);
}

}  // namespace

}  // namespace weir::http::core

namespace weir::http {

const conf::Module kCoreModule{
    .name = "ngx_http_core_module",
    .directives = core::all_directives(),
    .prepare = core::prepare,
    .finish = core::finish,
    .complete = core::complete,
};

}  // namespace weir::http
