#include <unistd.h>

#include "confparse/value.h"
#include "engine/log/clock.h"
#include "engine/worker.h"
#include "modules/stream/core.h"
#include "modules/stream/values.h"

// Variables of ngx_stream_core_module.
namespace weir::stream {

using conf::Value;
using conf::Variable;
using conf::VariableSource;

namespace core {
namespace {

Value host_of(Session& session, const net::Address& address) {
  char* text = session.allocate(net::Address::kHostTextSize);
  return Value::of({text, address.host_text(text)});
}
Value port_of(Session& session, const net::Address& address) {
  return address.is_ip() ? number_value(session, address.port()) : Value::of("");
}

Value get_remote_addr(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return host_of(session, session.peer());
}
Value get_binary_remote_addr(VariableSource& source, const Variable&) {
  const net::Address& peer = session_of(source).peer();
  return Value::of(peer.is_unix() ? std::string_view("unix:") : peer.binary());
}
Value get_remote_port(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return port_of(session, session.peer());
}
Value get_server_addr(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  const net::Address& local = session.local();
  if (local.is_unix()) return Value::of(session.copy(local.text()));
  return host_of(session, local);
}
Value get_server_port(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return port_of(session, session.local());
}
Value get_server_name(VariableSource& source, const Variable&) {
  return Value::of(session_of(source).server().names.front());
}

template <std::string net::ProxyHeader::* Field>
Value get_proxied_address(VariableSource& source, const Variable&) {
  const net::ProxyHeader* header = session_of(source).proxy_header();
  return header && header->has_addresses ? Value::of(header->*Field) : Value::none();
}
template <uint16_t net::ProxyHeader::* Field>
Value get_proxied_port(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  const net::ProxyHeader* header = session.proxy_header();
  return header && header->has_addresses ? number_value(session, header->*Field) : Value::none();
}
Value get_typed_value(VariableSource& source, const Variable& variable) {
  Session& session = session_of(source);
  const net::ProxyHeader* header = session.proxy_header();
  const auto selector = net::TlvSelector::parse(variable.suffix());
  if (!header || !selector) return Value::none();
  const net::TlvValue value = net::find_tlv(header->tlvs, *selector);
  if (value.state == net::TlvValue::State::broken)
    session.log(Severity::error, "broken PROXY protocol TLV");
  if (value.state != net::TlvValue::State::found) return Value::none();
  return Value::of(session.copy(value.value));
}

template <uint64_t Session::* Field>
Value get_count(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  if (session.content()) session.content()->update();
  return number_value(session, session.*Field);
}
Value get_session_time(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return seconds_value(session, session.worker().loop.now() - session.started_at());
}
Value get_status(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  char text[3];
  const int status = session.status();
  text[0] = static_cast<char>('0' + status / 100 % 10);
  text[1] = static_cast<char>('0' + status / 10 % 10);
  text[2] = static_cast<char>('0' + status % 10);
  return Value::of(session.copy({text, sizeof text}));
}
Value get_connection(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return number_value(session, session.serial());
}
Value get_protocol(VariableSource& source, const Variable&) {
  return Value::of(session_of(source).is_datagram() ? "UDP" : "TCP");
}

Value get_version(VariableSource&, const Variable&) {
  return Value::of("1.31.4");
}
Value get_pid(VariableSource& source, const Variable&) {
  return number_value(session_of(source), static_cast<uint64_t>(::getpid()));
}
Value get_msec(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return seconds_value(session, static_cast<uint64_t>(session.worker().loop.wall_milliseconds()));
}
Value get_time_local(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return Value::of(session.copy(clock_text::local(session.worker().loop.wall_milliseconds())));
}
Value get_time_iso8601(VariableSource& source, const Variable&) {
  Session& session = session_of(source);
  return Value::of(session.copy(clock_text::iso8601(session.worker().loop.wall_milliseconds())));
}
Value get_text(VariableSource&, const Variable& variable) {
  return Value::of(*reinterpret_cast<const std::string*>(variable.data));
}
Value get_capture(VariableSource& source, const Variable& variable) {
  Session& session = session_of(source);
  if (variable.data >= session.capture_count()) return Value::none();
  return Value::of(session.capture(variable.data));
}

constexpr Definition kVariables[] = {
    {.name = "binary_remote_addr", .get = get_binary_remote_addr},
    {.name = "remote_addr", .get = get_remote_addr},
    {.name = "remote_port", .get = get_remote_port},
    {.name = "proxy_protocol_addr", .get = get_proxied_address<&net::ProxyHeader::source_text>},
    {.name = "proxy_protocol_port", .get = get_proxied_port<&net::ProxyHeader::source_port>},
    {.name = "proxy_protocol_server_addr",
     .get = get_proxied_address<&net::ProxyHeader::destination_text>},
    {.name = "proxy_protocol_server_port",
     .get = get_proxied_port<&net::ProxyHeader::destination_port>},
    {.name = "proxy_protocol_tlv_", .get = get_typed_value, .prefix = true, .changeable = true},
    {.name = "server_addr", .get = get_server_addr},
    {.name = "server_port", .get = get_server_port},
    {.name = "server_name", .get = get_server_name},
    {.name = "bytes_sent", .get = get_count<&Session::sent>},
    {.name = "bytes_received", .get = get_count<&Session::received>},
    {.name = "session_time", .get = get_session_time, .cacheable = false},
    {.name = "status", .get = get_status, .cacheable = false},
    {.name = "connection", .get = get_connection},
    {.name = "nginx_version", .get = get_version},
    {.name = "pid", .get = get_pid},
    {.name = "msec", .get = get_msec, .cacheable = false},
    {.name = "time_iso8601", .get = get_time_iso8601, .cacheable = false},
    {.name = "time_local", .get = get_time_local, .cacheable = false},
    {.name = "protocol", .get = get_protocol},
};

}  // namespace

void define_variables(conf::Compiler& compiler) {
  for (const Definition& definition : kVariables) define(compiler, definition);
  Definition hostname{.name = "hostname", .get = get_text};
  hostname.data = reinterpret_cast<uintptr_t>(&builder(compiler).graph().keep(
      std::make_unique<std::string>(conf::lower_case(compiler.world().host_name().value))));
  define(compiler, hostname);
  for (uintptr_t i = 1; i <= 9; ++i) {
    const std::string name = "$" + std::to_string(i);
    Definition capture{.name = name.c_str(), .get = get_capture, .cacheable = false, .data = i};
    define(compiler, capture);
  }
}

}  // namespace core
}  // namespace weir::stream
