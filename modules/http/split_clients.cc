#include "modules/shared/split_clients.h"

#include "engine/http/builder.h"
#include "modules/http/modules.h"

// ngx_http_split_clients_module: registers the shared split_clients with http.
namespace weir::http {

namespace {

void set_split(conf::Compiler& compiler, conf::Scope&, const conf::Statement& statement) {
  auto split = shared::SplitClients::define(compiler, statement);
  if (split) builder(compiler).graph().keep(std::move(split));
}

constexpr conf::Directive kDirectives[] = {shared::split_clients_row(conf::kHttp, set_split)};

}  // namespace

const conf::Module kSplitClientsModule{.name = "ngx_http_split_clients_module",
                                       .directives = kDirectives};

}  // namespace weir::http
