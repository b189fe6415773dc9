#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "confparse/value.h"
#include "engine/http/connection_facts.h"
#include "engine/worker.h"
#include "modules/http/core_variables.h"

// Variables of ngx_http_core_module that speak of the client connection.
namespace weir::http::core {

namespace {

Value host_of(Request& request, const net::Address& address) {
  char* text = request.arena().text(net::Address::kHostTextSize);
  return Value::of({text, address.host_text(text)});
}
Value port_of(Request& request, const net::Address& address) {
  // Addresses that a field named come without a port.
  return address.is_ip() && address.port() != 0 ? number_value(request, address.port())
                                                : Value::of("");
}

Value get_remote_addr(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return host_of(request, request.client());
}
Value get_binary_remote_addr(VariableSource& source, const Variable&) {
  const net::Address& peer = request_of(source).client();
  return Value::of(peer.is_unix() ? std::string_view("unix:") : peer.binary());
}
Value get_remote_port(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return port_of(request, request.client());
}
Value get_server_addr(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const net::Address& local = request.connection().local();
  if (local.is_unix()) return Value::of(request.arena().copy(local.text()));
  return host_of(request, local);
}
Value get_server_port(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return port_of(request, request.connection().local());
}

Value get_connection(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.connection().serial);
}
Value get_connection_requests(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return number_value(request, request.number_on_connection());
}
Value get_connection_time(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return seconds_value(request, request.worker().loop.now() - request.connection().accepted_at);
}

template <uint32_t tcp_info::* Field>
Value get_tcp_info(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  tcp_info info{};
  socklen_t size = sizeof info;
  const int descriptor = request.connection().descriptor;
  if (descriptor < 0 || ::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return Value::none();
  return number_value(request, info.*Field);
}

template <std::string net::ProxyHeader::* Field>
Value get_proxied_address(VariableSource& source, const Variable&) {
  const net::ProxyHeader* header = request_of(source).connection().proxy_protocol.get();
  return header && header->has_addresses ? Value::of(header->*Field) : Value::none();
}
template <uint16_t net::ProxyHeader::* Field>
Value get_proxied_port(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const net::ProxyHeader* header = request.connection().proxy_protocol.get();
  return header && header->has_addresses ? number_value(request, header->*Field) : Value::none();
}

Value get_typed_value(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  const net::ProxyHeader* header = request.connection().proxy_protocol.get();
  const auto selector = net::TlvSelector::parse(variable.suffix());
  if (!header || !selector) return Value::none();
  const net::TlvValue value = net::find_tlv(header->tlvs, *selector);
  if (value.state == net::TlvValue::State::broken)
    request.log(Severity::error, "broken PROXY protocol TLV");
  if (value.state != net::TlvValue::State::found) return Value::none();
  return Value::of(request.arena().copy(value.value));
}

constexpr Definition kConnectionVariables[] = {
    {.name = "remote_addr", .get = get_remote_addr},
    {.name = "binary_remote_addr", .get = get_binary_remote_addr},
    {.name = "remote_port", .get = get_remote_port},
    {.name = "server_addr", .get = get_server_addr},
    {.name = "server_port", .get = get_server_port},
    {.name = "connection", .get = get_connection},
    {.name = "connection_requests", .get = get_connection_requests},
    {.name = "connection_time", .get = get_connection_time, .cacheable = false},
    {.name = "tcpinfo_rtt", .get = get_tcp_info<&tcp_info::tcpi_rtt>, .cacheable = false},
    {.name = "tcpinfo_rttvar", .get = get_tcp_info<&tcp_info::tcpi_rttvar>, .cacheable = false},
    {.name = "tcpinfo_snd_cwnd", .get = get_tcp_info<&tcp_info::tcpi_snd_cwnd>, .cacheable = false},
    {.name = "tcpinfo_rcv_space",
     .get = get_tcp_info<&tcp_info::tcpi_rcv_space>,
     .cacheable = false},
    {.name = "proxy_protocol_addr", .get = get_proxied_address<&net::ProxyHeader::source_text>},
    {.name = "proxy_protocol_server_addr",
     .get = get_proxied_address<&net::ProxyHeader::destination_text>},
    {.name = "proxy_protocol_port", .get = get_proxied_port<&net::ProxyHeader::source_port>},
    {.name = "proxy_protocol_server_port",
     .get = get_proxied_port<&net::ProxyHeader::destination_port>},
    {.name = "proxy_protocol_tlv_", .get = get_typed_value, .prefix = true, .changeable = true},
};

}  // namespace

void define_connection_variables(conf::Compiler& compiler) {
  for (const Definition& definition : kConnectionVariables) define(compiler, definition);
}

}  // namespace weir::http::core
