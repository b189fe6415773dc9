#include "modules/shared/geo.h"

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_geo_module: registers the shared geo with stream.
namespace weir::stream {

namespace {

net::Address client_address(conf::VariableSource& source, const shared::Geo&) {
  return session_of(source).peer();
}

void set_geo(conf::Compiler& compiler, conf::Scope&, const conf::Statement& statement) {
  auto geo = shared::Geo::define(compiler, statement, client_address, false);
  if (geo) builder(compiler).graph().keep(std::move(geo));
}

constexpr conf::Directive kDirectives[] = {shared::geo_row(conf::kStream, set_geo)};

}  // namespace

const conf::Module kGeoModule{
    .name = "ngx_stream_geo_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
