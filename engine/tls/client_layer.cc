#include <arpa/inet.h>

#include "engine/tls/credential_cache.h"
#include "engine/tls/error.h"
#include "engine/tls/files.h"
#include "engine/tls/layer.h"
#include "engine/tls/native.h"
#include "engine/tls/sessions.h"

namespace weir::tls {
namespace {

bool is_address(const std::string& name) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, name.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

bool matches(X509* certificate, const std::string& name) {
  if (is_address(name)) return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
  return X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1;
}

}  // namespace

ClientLayer::ClientLayer(std::shared_ptr<const ClientContext> context,
                         const ClientParameters& parameters)
    : Layer(context->native()), context_(std::move(context)) {
  if (!native_) {
    fail(Severity::alert, "SSL_new() failed" + take_errors());
    return;
  }
  SSL_set_connect_state(native_);
  verify_name_ = parameters.verify_name;
  if (!parameters.server_name.empty() && !is_address(parameters.server_name) &&
      SSL_set_tlsext_host_name(native_, parameters.server_name.c_str()) == 0) {
    fail(Severity::error,
         "SSL_set_tlsext_host_name(\"" + parameters.server_name + "\") failed" + take_errors());
    return;
  }
  if (!parameters.alpn.empty()) {
    SSL_set_alpn_protos(native_, reinterpret_cast<const unsigned char*>(parameters.alpn.data()),
                        static_cast<unsigned>(parameters.alpn.size()));
  }
  if (parameters.credential) {
    if (!use(*parameters.credential)) return;
  }
  if (!context_->options().session_reuse || parameters.peer.empty()) return;
  session_key_ = context_->digest() + parameters.peer + "\n" + parameters.server_name + "\n" +
                 parameters.verify_name + "\n" + parameters.alpn;
  if (parameters.credential) session_key_ += "\n" + parameters.credential->chain->digest;
  if (SSL_SESSION* session = ClientSessions::take(session_key_)) {
    SSL_set_session(native_, session);
    SSL_SESSION_free(session);
  }
}

ClientLayer::~ClientLayer() = default;

bool ClientLayer::check_peer() {
  if (!context_->options().verify) return true;
  const long result = SSL_get_verify_result(native_);
  std::string problem;
  if (result != X509_V_OK) {
    problem = "upstream SSL certificate verify error: (" + std::to_string(result) + ":" +
              X509_verify_cert_error_string(result) + ")";
  } else {
    const X509Pointer certificate(SSL_get1_peer_certificate(native_));
    if (!certificate || !matches(certificate.get(), verify_name_)) {
      problem = "upstream SSL certificate does not match \"" + verify_name_ + "\"";
    }
  }
  if (problem.empty()) return true;
  ClientSessions::forget(session_key_);
  session_key_.clear();
  fail(Severity::error, std::move(problem));
  return false;
}

}  // namespace weir::tls
