#include "modules/shared/realip.h"

#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_realip_module: takes the client's address from the PROXY protocol header.
namespace weir::stream {

namespace {

using namespace conf;

// The address that the session came from, where another took its place.
struct Original {
  net::Address peer;
};

void set_from(Compiler& compiler, Scope& scope, const Statement& statement) {
  shared::read_real_ip_from(compiler, scope, scope.write<shared::RealAddressSettings>(), statement);
}

PhaseResult take_address(Session& session) {
  const auto& trusted = session.settings<shared::RealAddressSettings>().trusted;
  const net::ProxyHeader* header = session.proxy_header();
  if (trusted.empty() || !header || header->source.empty()) return PhaseResult::next();
  net::Address address = session.peer();
  const std::string_view named = header->source_text;
  if (shared::forwarded_address(address, {&named, 1}, trusted, false) ==
      shared::Forwarded::unchanged) {
    return PhaseResult::next();
  }
  address.set_port(header->source_port);
  session.context<Original>().peer = session.peer();
  session.set_peer(address);
  return PhaseResult::next();
}

const net::Address& original(Session& session) {
  const auto* kept = session.peek<Original>();
  return kept ? kept->peer : session.peer();
}

Value get_remote_address(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  char* text = session.allocate(net::Address::kHostTextSize);
  return Value::of({text, original(session).host_text(text)});
}

Value get_remote_port(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  const uint16_t port = original(session).port();
  return port == 0 ? Value::of("") : number_value(session, port);
}

constexpr Directive kDirectives[] = {
    {.name = "set_real_ip_from",
     .where = kStream | kStreamServer,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_from,
     .doc = "Believes these peers' PROXY protocol headers about the client's address."},
};

void prepare(Compiler& compiler, Scope&) {
  define(compiler, {.name = "realip_remote_addr", .get = get_remote_address});
  define(compiler, {.name = "realip_remote_port", .get = get_remote_port});
}

void complete(Compiler& compiler, Scope&) {
  builder(compiler).add_phase_handler(Phase::post_accept, take_address);
}

}  // namespace

const conf::Module kRealIpModule{
    .name = "ngx_stream_realip_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
    .root = conf::kStream,
    .configure_argument = "--with-stream_realip_module",
};

}  // namespace weir::stream
