#include "engine/http/gateway_connect.h"
#include "engine/http/request.h"
#include "engine/tls/context.h"
#include "engine/tls/credential_cache.h"
#include "engine/tls/layer.h"

// How the connection to a peer is opened: its socket, and TLS: who the peer should be, and which
// connections and sessions may serve.
namespace weir::http {
namespace {

// Of a name as a URL has it, what certificates know (RFC 6066 section 3): no port.
std::string_view without_port(std::string_view name) {
  const size_t from = name.starts_with('[') ? name.find(']') : 0;
  if (from == std::string_view::npos) return name;
  return name.substr(0, name.find(':', from));
}

}  // namespace

ConnectionNames name_connection(Request& request, const GatewayPlan& plan) {
  ConnectionNames names;
  names.key = plan.traits;
  if (!plan.tls) return names;
  const UpstreamTls& tls = *plan.tls;
  Arena& arena = request.arena();
  names.tls_name = without_port(tls.name.empty() ? plan.tls_name : tls.name.evaluate(request));
  if (!tls.certificate.empty()) {
    const std::string_view certificate = tls.certificate.evaluate(request);
    if (!certificate.empty()) {
      names.credential = arena.make<tls::Credential>();
      names.credential->certificate = tls::full_name(tls.folder, certificate);
      names.credential->key = tls::full_name(tls.folder, tls.certificate_key.evaluate(request));
    }
  }
  ArenaText key(arena,
                plan.traits.size() + tls.context->digest().size() + names.tls_name.size() + 16);
  key.append(plan.traits);
  key.append(tls.send_server_name ? "\ntls sni " : "\ntls ");
  key.append(tls.context->digest());
  key.push_back('\n');
  key.append(names.tls_name);
  if (names.credential) {
    key.push_back('\n');
    key.append(names.credential->certificate);
    key.push_back('\n');
    key.append(names.credential->key);
  }
  names.key = key.view();
  return names;
}

bool add_tls(UpstreamConnection& connection, const GatewayPlan& plan, const ConnectionNames& names,
             const net::Address& peer, std::string& problem) {
  const UpstreamTls& tls = *plan.tls;
  tls::LoadedCredential loaded;
  if (names.credential &&
      !tls::load_credential(*names.credential, tls.context->options().password_file, tls.cache,
                            loaded, problem)) {
    return false;
  }
  tls::ClientParameters parameters;
  if (tls.send_server_name) parameters.server_name = names.tls_name;
  parameters.verify_name = names.tls_name;
  parameters.alpn = plan.alpn;
  parameters.peer = peer.text();
  if (names.credential) parameters.credential = &loaded;
  connection.use_tls(std::make_unique<tls::ClientLayer>(tls.context, parameters));
  return true;
}

net::ConnectOptions connect_options(Request& request, const GatewaySettings& settings,
                                    std::string& problem) {
  net::ConnectOptions options;
  options.keepalive = settings.socket_keepalive;
  options.receive_buffer = static_cast<int>(settings.socket_receive_buffer.value);
  options.send_buffer = static_cast<int>(settings.socket_send_buffer.value);
  const std::string_view wrong = net::apply_bind(settings.bind, request, options);
  if (!wrong.empty()) problem = "invalid local address \"" + std::string(wrong) + "\"";
  return options;
}

}  // namespace weir::http
