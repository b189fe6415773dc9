#include "engine/http/gateway_run.h"
#include "engine/http/request.h"
#include "engine/tls/context.h"
#include "engine/tls/layer.h"

// TLS to the peer of an attempt: who it should be, and which connections and sessions may serve.
namespace weir::http {
namespace {

// Of a name as a URL has it, what certificates know (RFC 6066 section 3): no port.
std::string_view without_port(std::string_view name) {
  const size_t from = name.starts_with('[') ? name.find(']') : 0;
  if (from == std::string_view::npos) return name;
  return name.substr(0, name.find(':', from));
}

}  // namespace

void GatewayRun::prepare_tls() {
  const UpstreamTls& tls = *plan_.tls;
  Arena& arena = request_.arena();
  tls_name_ = without_port(tls.name.empty() ? plan_.tls_name : tls.name.evaluate(request_));
  if (!tls.certificate.empty()) {
    credential_ = arena.make<tls::Credential>();
    credential_->certificate = tls.certificate.evaluate(request_);
    credential_->key = tls.certificate_key.evaluate(request_);
    // No certificate then.
    if (credential_->certificate.empty()) credential_ = nullptr;
  }
  ArenaText key(arena, plan_.traits.size() + tls.context->digest().size() + tls_name_.size() + 16);
  key.append(plan_.traits);
  key.append(tls.send_server_name ? "\ntls sni " : "\ntls ");
  key.append(tls.context->digest());
  key.push_back('\n');
  key.append(tls_name_);
  if (credential_) {
    key.push_back('\n');
    key.append(credential_->certificate);
    key.push_back('\n');
    key.append(credential_->key);
  }
  key_ = key.view();
}

void GatewayRun::add_tls(UpstreamConnection& connection) {
  const UpstreamTls& tls = *plan_.tls;
  tls::ClientParameters parameters;
  if (tls.send_server_name) parameters.server_name = tls_name_;
  parameters.verify_name = tls_name_;
  parameters.alpn = plan_.alpn;
  parameters.peer = peer_.text();
  parameters.credential = credential_;
  connection.use_tls(std::make_unique<tls::ClientLayer>(tls.context, parameters));
}

}  // namespace weir::http
