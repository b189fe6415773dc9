#include "modules/shared/geo.h"

#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_geo_module: registers the shared geo with http.
namespace weir::http {

namespace {

// Or the one that trusted proxies name.
net::Address client_address(conf::VariableSource& source, const shared::Geo& geo) {
  auto& request = static_cast<Request&>(source);
  net::Address address = request.client();
  if (geo.proxies.empty()) return address;
  std::vector<std::string_view> values;
  for (const Header& field : request.headers()) {
    if (field.id == HeaderId::x_forwarded_for) values.push_back(field.value);
  }
  shared::forwarded_address(address, values, geo.proxies, geo.proxy_recursive);
  return address;
}

void set_geo(conf::Compiler& compiler, conf::Scope&, const conf::Statement& statement) {
  auto geo = shared::Geo::define(compiler, statement, client_address, true);
  if (geo) builder(compiler).graph().keep(std::move(geo));
}

constexpr conf::Directive kDirectives[] = {shared::geo_row(conf::kHttp, set_geo)};

}  // namespace

const conf::Module kGeoModule{.name = "ngx_http_geo_module", .directives = kDirectives};

}  // namespace weir::http
