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
  return address.is_ip() ? number_value(request, address.port()) : Value::of("");
}

Value get_remote_addr(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return host_of(request, request.connection().peer);
}
Value get_binary_remote_addr(VariableSource& source, const Variable&) {
  const net::Address& peer = request_of(source).connection().peer;
  return Value::of(peer.is_unix() ? std::string_view("unix:") : peer.binary());
}
Value get_remote_port(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  return port_of(request, request.connection().peer);
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
  return number_value(request, request.connection().requests);
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

const ProxyProtocolFacts* facts_of(Request& request) {
  return request.connection().proxy_protocol.get();
}

template <std::string ProxyProtocolFacts::* Field>
Value get_proxied_address(VariableSource& source, const Variable&) {
  const ProxyProtocolFacts* facts = facts_of(request_of(source));
  return facts && !(facts->*Field).empty() ? Value::of(facts->*Field) : Value::none();
}
template <uint16_t ProxyProtocolFacts::* Field>
Value get_proxied_port(VariableSource& source, const Variable&) {
  Request& request = request_of(source);
  const ProxyProtocolFacts* facts = facts_of(request);
  return facts && !facts->source.empty() ? number_value(request, facts->*Field) : Value::none();
}

// Type numbers of the PROXY protocol's section 2.2; those of the ssl value are in it.
struct TypedValueName {
  std::string_view name;
  uint8_t type;
  bool in_ssl;
};
constexpr TypedValueName kTypedValues[] = {
    {"alpn", 0x01, false},       {"authority", 0x02, false}, {"unique_id", 0x05, false},
    {"ssl", 0x20, false},        {"netns", 0x30, false},     {"ssl_version", 0x21, true},
    {"ssl_cn", 0x22, true},      {"ssl_cipher", 0x23, true}, {"ssl_sig_alg", 0x24, true},
    {"ssl_key_alg", 0x25, true},
};

std::optional<std::string_view> find_in_ssl(std::string_view ssl, uint8_t type) {
  if (ssl.size() < 5) return {};
  ssl.remove_prefix(5);  // client flags and verify
  while (ssl.size() >= 3) {
    const size_t size =
        static_cast<unsigned char>(ssl[1]) << 8 | static_cast<unsigned char>(ssl[2]);
    if (ssl.size() - 3 < size) return {};
    if (static_cast<uint8_t>(ssl[0]) == type) return ssl.substr(3, size);
    ssl.remove_prefix(3 + size);
  }
  return {};
}

Value get_typed_value(VariableSource& source, const Variable& variable) {
  Request& request = request_of(source);
  const ProxyProtocolFacts* facts = facts_of(request);
  if (!facts) return Value::none();
  std::string_view name = variable.suffix();
  uint32_t type = 0;
  bool in_ssl = false;
  if (name.starts_with("ssl_0x") || name.starts_with("0x")) {
    in_ssl = name.starts_with("ssl_");
    const auto number = conf::parse_hexadecimal(name.substr(in_ssl ? 6 : 2));
    if (!number || *number > 255) return Value::none();
    type = static_cast<uint32_t>(*number);
  } else {
    bool known = name == "ssl_verify";
    for (const TypedValueName& row : kTypedValues) {
      if (row.name != name) continue;
      type = row.type;
      in_ssl = row.in_ssl;
      known = true;
    }
    if (!known) return Value::none();
  }
  const uint32_t wanted = in_ssl || name == "ssl_verify" ? 0x20 : type;
  for (const auto& [found, value] : facts->values) {
    if (found != wanted) continue;
    if (name == "ssl_verify") {
      if (value.size() < 5) return Value::none();
      uint32_t verify = 0;
      for (size_t i = 1; i < 5; ++i) verify = verify << 8 | static_cast<unsigned char>(value[i]);
      return number_value(request, verify);
    }
    if (!in_ssl) return Value::of(value);
    const auto inner = find_in_ssl(value, static_cast<uint8_t>(type));
    return inner ? Value::of(*inner) : Value::none();
  }
  return Value::none();
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
    {.name = "proxy_protocol_addr", .get = get_proxied_address<&ProxyProtocolFacts::source>},
    {.name = "proxy_protocol_server_addr",
     .get = get_proxied_address<&ProxyProtocolFacts::destination>},
    {.name = "proxy_protocol_port", .get = get_proxied_port<&ProxyProtocolFacts::source_port>},
    {.name = "proxy_protocol_server_port",
     .get = get_proxied_port<&ProxyProtocolFacts::destination_port>},
    {.name = "proxy_protocol_tlv_", .get = get_typed_value, .prefix = true, .changeable = true},
};

}  // namespace

void define_connection_variables(conf::Compiler& compiler) {
  for (const Definition& definition : kConnectionVariables) define(compiler, definition);
}

}  // namespace weir::http::core
