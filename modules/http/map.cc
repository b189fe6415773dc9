#include "modules/shared/map.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/http/modules.h"

// ngx_http_map_module: registers the shared map with http.
namespace weir::http {

namespace {

using namespace conf;

struct MapTuning {
  Number hash_max_size, hash_bucket_size;
};

void read_map(Compiler& compiler, Scope&, const Statement& statement) {
  auto map = shared::Map::define(compiler, statement);
  if (map) builder(compiler).graph().keep(std::move(map));
}

constexpr Directive kDirectives[] = {
    {.name = "map",
     .where = kHttp,
     .args = {2, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = read_map,
     .doc = "Defines a variable whose value depends on another's."},
    {.name = "map_hash_max_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "2048",
     .set = into<&MapTuning::hash_max_size>,
     .doc = "Checked; tables size themselves."},
    {.name = "map_hash_bucket_size",
     .where = kHttp,
     .args = {1, 1},
     .initial = "64",
     .set = into<&MapTuning::hash_bucket_size>,
     .doc = "Checked; tables size themselves."},
};

}  // namespace

const conf::Module kMapModule{.name = "ngx_http_map_module", .directives = kDirectives};

}  // namespace weir::http
