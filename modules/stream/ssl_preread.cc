#include "confparse/setters.h"
#include "engine/net/client_hello.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_ssl_preread_module: what a TLS client says first, without answering it.
namespace weir::stream {

namespace {

using namespace conf;

struct PrereadSettings {
  bool enabled = false;
};

// What was found; none: the module did not look, or it was no TLS.
struct PrereadFacts {
  bool found = false;
  net::ClientHello hello;
};

std::string_view version_name(uint16_t version) {
  switch (version) {
    case 0x0002:
      return "SSLv2";
    case 0x0300:
      return "SSLv3";
    case 0x0301:
      return "TLSv1";
    case 0x0302:
      return "TLSv1.1";
    case 0x0303:
      return "TLSv1.2";
    case 0x0304:
      return "TLSv1.3";
    default:
      return "";
  }
}

PhaseResult preread(Session& session) {
  if (!session.settings<PrereadSettings>().enabled || session.is_datagram()) {
    return PhaseResult::next();
  }
  const std::string_view bytes = session.preread();
  if (bytes.empty()) return PhaseResult::wait();
  net::ClientHelloReader reader;
  switch (reader.read(bytes)) {
    case net::ClientHelloReader::State::need_more:
      return PhaseResult::wait();
    case net::ClientHelloReader::State::not_tls:
    case net::ClientHelloReader::State::broken:
      return PhaseResult::next();
    case net::ClientHelloReader::State::done:
      break;
  }
  auto& facts = session.context<PrereadFacts>();
  facts.found = true;
  facts.hello = std::move(reader.hello());
  if (!facts.hello.server_name.empty() && session.listener().chooses_by_name) {
    session.choose_server(lower_case(facts.hello.server_name));
  }
  return PhaseResult::next();
}

Value get_server_name(VariableSource& source, const Variable&) {
  const auto* facts = session_of(source).peek<PrereadFacts>();
  return facts && facts->found ? Value::of(facts->hello.server_name) : Value::none();
}
Value get_protocols(VariableSource& source, const Variable&) {
  const auto* facts = session_of(source).peek<PrereadFacts>();
  return facts && facts->found ? Value::of(facts->hello.alpn) : Value::none();
}
Value get_version(VariableSource& source, const Variable&) {
  const auto* facts = session_of(source).peek<PrereadFacts>();
  return facts && facts->found ? Value::of(version_name(facts->hello.version)) : Value::none();
}

constexpr Directive kDirectives[] = {
    {.name = "ssl_preread",
     .where = kStream | kStreamServer,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&PrereadSettings::enabled>,
     .doc = "Looks at the TLS ClientHello before the session is served."},
};

constexpr Definition kVariables[] = {
    {.name = "ssl_preread_protocol", .get = get_version},
    {.name = "ssl_preread_server_name", .get = get_server_name},
    {.name = "ssl_preread_alpn_protocols", .get = get_protocols},
};

void prepare(Compiler& compiler, Scope&) {
  for (const Definition& definition : kVariables) define(compiler, definition);
}

void complete(Compiler& compiler, Scope&) {
  builder(compiler).add_phase_handler(Phase::preread, preread);
}

}  // namespace

const conf::Module kSslPrereadModule{.name = "ngx_stream_ssl_preread_module",
                                     .directives = kDirectives,
                                     .prepare = prepare,
                                     .complete = complete,
                                     .root = conf::kStream,
                                     .configure_argument = "--with-stream_ssl_preread_module"};

}  // namespace weir::stream
