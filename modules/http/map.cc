#include "modules/shared/map.h"

#include "engine/http/builder.h"
#include "modules/http/modules.h"

// ngx_http_map_module: registers the shared map with http.
namespace weir::http {

namespace {

void read_map(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& statement) {
  auto map = shared::Map::define(compiler, scope, statement);
  if (map) builder(compiler).graph().keep(std::move(map));
}

constexpr auto kDirectives = shared::map_rows(conf::kHttp, read_map);

}  // namespace

const conf::Module kMapModule{.name = "ngx_http_map_module", .directives = kDirectives};

}  // namespace weir::http
