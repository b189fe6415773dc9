#include "confparse/setters.h"
#include "modules/core/modules.h"

// ngx_openssl_module: what TLS has in the main context.
namespace weir::core {
namespace {

using namespace conf;

struct OpenSslSettings {
  bool inheritable = true;
};

constexpr Directive kDirectives[] = {
    {.name = "ssl_object_cache_inheritable",
     .where = kMain,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "on",
     .set = into<&OpenSslSettings::inheritable>,
     .doc = "Checked; what has not changed by content is shared with the configuration before."},
};

}  // namespace

const Module kOpenSslModule{.name = "ngx_openssl_module", .directives = kDirectives, .root = kMain};

}  // namespace weir::core
