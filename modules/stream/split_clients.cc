#include "modules/shared/split_clients.h"

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"

// ngx_stream_split_clients_module: registers the shared split_clients with stream.
namespace weir::stream {

namespace {

void set_split(conf::Compiler& compiler, conf::Scope&, const conf::Statement& statement) {
  auto split = shared::SplitClients::define(compiler, statement);
  if (split) builder(compiler).graph().keep(std::move(split));
}

constexpr conf::Directive kDirectives[] = {shared::split_clients_row(conf::kStream, set_split)};

}  // namespace

const conf::Module kSplitClientsModule{
    .name = "ngx_stream_split_clients_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
