#pragma once

#include <string>
#include <string_view>

#include "engine/http/gateway.h"
#include "engine/net/connector.h"

namespace weir::tls {
struct Credential;
}

// How connections to the peers of a plan are opened: for gateways, and for health checks, which
// connect as the location's requests do.
namespace weir::http {

// What is evaluated once for a request, and then used for each of its connections. In its arena.
struct ConnectionNames {
  std::string_view key;       // UpstreamConnection::traits: the plan's, and what TLS adds
  std::string_view tls_name;  // whom the peer should be
  tls::Credential* credential = nullptr;
};
ConnectionNames name_connection(Request& request, const GatewayPlan& plan);
// Before open(), where plan.tls is set. False: our own certificate cannot be loaded, which no other
// peer helps; `problem` is the text for the log.
bool add_tls(UpstreamConnection& connection, const GatewayPlan& plan, const ConnectionNames& names,
             const net::Address& peer, std::string& problem);
// Of the socket. `problem` is set when the bind setting evaluates to no address, which is then left
// out.
net::ConnectOptions connect_options(Request& request, const GatewaySettings& settings,
                                    std::string& problem);

}  // namespace weir::http
