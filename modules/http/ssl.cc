#include "modules/shared/ssl.h"
#include "engine/http/builder.h"
#include "engine/http/connection_facts.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"
#include "modules/shared/ssl_variables.h"

// ngx_http_ssl_module: registers the shared TLS settings and variables with http.
namespace weir::http {
namespace {

using namespace conf;

const tls::Layer* layer_of(VariableSource& source) {
  return static_cast<Request&>(source).connection().tls;
}

Value get_early_data(VariableSource& source, const Variable&) {
  const tls::ServerLayer* layer = static_cast<Request&>(source).connection().tls;
  return layer && layer->in_early_data() ? Value::of("1") : Value::none();
}

void set_buffer_size(Compiler& compiler, Scope& scope, const Statement& statement) {
  Bytes size;
  if (!read_setting(compiler, scope, statement, size)) return;
  scope.write<tls::ServerSettings>().options.buffer_size = size.value;
}

constexpr uint32_t kWhere = kHttp | kServer;

constexpr Directive kOwnDirectives[] = {
    {.name = "ssl_buffer_size",
     .where = kWhere,
     .args = {1, 1},
     .initial = "16k",
     .set = set_buffer_size,
     .doc = "Most bytes of an answer that are encrypted as one record."},
    {.name = "ssl_early_data",
     .where = kWhere,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = shared::ssl::set_flag,
     .doc = "Takes requests in TLS 1.3 early data, which may be replayed."},
};

constexpr auto kDirectives = [] {
  constexpr auto& common = shared::ssl::kDirectives<kWhere>;
  std::array<Directive, std::size(kOwnDirectives) + common.size()> all{};
  size_t count = 0;
  for (const Directive& directive : common) all[count++] = directive;
  for (const Directive& directive : kOwnDirectives) all[count++] = directive;
  return all;
}();

void prepare(Compiler& compiler, Scope&) {
  shared::ssl::define_variables<layer_of>(compiler.variables(), true);
  Variable early;
  early.name = "ssl_early_data";
  early.get = get_early_data;
  early.cacheable = false;
  early.changeable = true;
  compiler.variables().define(std::move(early));
}

void finish(Compiler& compiler, Scope& self, const Scope*) {
  if (self.context() == kServer) shared::ssl::finish_server(compiler, self, "HTTP");
}

void complete(Compiler& compiler, Scope&) {
  shared::ssl::check_certificates(compiler, builder(compiler));
}

}  // namespace

const Module kSslModule{.name = "ngx_http_ssl_module",
                        .directives = kDirectives,
                        .prepare = prepare,
                        .finish = finish,
                        .complete = complete,
                        .configure_argument = "--with-http_ssl_module"};

}  // namespace weir::http
