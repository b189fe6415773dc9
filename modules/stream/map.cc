#include "modules/shared/map.h"

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"

// ngx_stream_map_module: registers the shared map with stream.
namespace weir::stream {

namespace {

void read_map(conf::Compiler& compiler, conf::Scope& scope, const conf::Statement& statement) {
  auto map = shared::Map::define(compiler, scope, statement);
  if (map) builder(compiler).graph().keep(std::move(map));
}

constexpr auto kDirectives = shared::map_rows(conf::kStream, read_map);

}  // namespace

const conf::Module kMapModule{
    .name = "ngx_stream_map_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
