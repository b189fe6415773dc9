#include "modules/shared/realip.h"

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/connection_facts.h"
#include "engine/http/request.h"
#include "modules/http/core_variables.h"
#include "modules/http/modules.h"

// ngx_http_realip_module: takes the client's address from a field, or from the PROXY protocol.
namespace weir::http {

namespace {

using namespace conf;

struct RealIpSettings {
  enum class From : uint8_t { real_ip, forwarded_for, field, proxy_protocol };
  From from = From::real_ip;
  std::string field;
  bool recursive = false;
};

// There once the address was taken, so that it is taken once.
struct Taken {};

void set_from(Compiler& compiler, Scope& scope, const Statement& statement) {
  shared::read_real_ip_from(compiler, scope, scope.write<shared::RealAddressSettings>(), statement);
}

void set_header(Compiler&, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<RealIpSettings>();
  const std::string_view name = statement.argument(0);
  settings.field.clear();
  if (name == "X-Real-IP") {
    settings.from = RealIpSettings::From::real_ip;
  } else if (name == "X-Forwarded-For") {
    settings.from = RealIpSettings::From::forwarded_for;
  } else if (name == "proxy_protocol") {
    settings.from = RealIpSettings::From::proxy_protocol;
  } else {
    settings.from = RealIpSettings::From::field;
    settings.field = name;
  }
}

// What names the client; empty: nothing does.
std::vector<std::string_view> named_addresses(Request& request, const RealIpSettings& settings) {
  std::vector<std::string_view> values;
  const HeaderList& fields = request.headers();
  switch (settings.from) {
    case RealIpSettings::From::real_ip:
      if (const Header* field = fields.find(HeaderId::x_real_ip)) values.push_back(field->value);
      break;
    case RealIpSettings::From::forwarded_for:
      for (const Header& field : fields) {
        if (field.id == HeaderId::x_forwarded_for) values.push_back(field.value);
      }
      break;
    case RealIpSettings::From::proxy_protocol:
      if (const net::ProxyHeader* header = request.connection().proxy_protocol.get()) {
        values.push_back(header->source_text);
      }
      break;
    case RealIpSettings::From::field:
      if (const Header* field = fields.find(std::string_view(settings.field))) {
        values.push_back(field->value);
      }
      break;
  }
  return values;
}

PhaseResult take_address(Request& request) {
  const auto& trusted = request.settings<shared::RealAddressSettings>().trusted;
  if (trusted.empty() || request.main().peek<Taken>()) return PhaseResult::next();
  const auto& settings = request.settings<RealIpSettings>();
  const std::vector<std::string_view> values = named_addresses(request, settings);
  if (values.empty()) return PhaseResult::next();
  net::Address address = request.client();
  if (shared::forwarded_address(address, values, trusted, settings.recursive) ==
      shared::Forwarded::unchanged) {
    return PhaseResult::next();
  }
  if (settings.from == RealIpSettings::From::proxy_protocol) {
    address.set_port(request.connection().proxy_protocol->source_port);
  }
  request.main().lasting_context<Taken>();
  request.set_client(address);
  return PhaseResult::next();
}

Value get_remote_address(VariableSource& source, const Variable&) {
  Request& request = core::request_of(source);
  char* text = request.arena().text(net::Address::kHostTextSize);
  return Value::of({text, request.connection().peer.host_text(text)});
}

Value get_remote_port(VariableSource& source, const Variable&) {
  Request& request = core::request_of(source);
  const uint16_t port = request.connection().peer.port();
  return port == 0 ? Value::of("") : core::number_value(request, port);
}

constexpr Directive kDirectives[] = {
    {.name = "set_real_ip_from",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_from,
     .doc = "Believes these peers about the client's address."},
    {.name = "real_ip_header",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "X-Real-IP",
     .set = set_header,
     .doc = "Where the client's address is: a field, or proxy_protocol."},
    {.name = "real_ip_recursive",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&RealIpSettings::recursive>,
     .doc = "Takes the last address that is not a trusted one, instead of the last."},
};

void prepare(Compiler& compiler, Scope&) {
  core::define(compiler, {.name = "realip_remote_addr", .get = get_remote_address});
  core::define(compiler, {.name = "realip_remote_port", .get = get_remote_port});
}

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::post_read, take_address);
  builder(compiler).add_phase_handler(Phase::preaccess, take_address);
}

}  // namespace

const conf::Module kRealIpModule{
    .name = "ngx_http_realip_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
    .configure_argument = "--with-http_realip_module",
};

}  // namespace weir::http
