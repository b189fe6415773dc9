// What TLS has to say about a request: which server it is for, and whether it may be answered.

#include <algorithm>
#include <cctype>
#include <string>

#include "engine/http/connection_facts.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/phase_engine.h"
#include "engine/tls/inspect.h"
#include "engine/tls/layer.h"
#include "engine/tls/server_settings.h"

namespace weir::http {
namespace {

const tls::ServerOptions& options_of(const VirtualServer& server) {
  return server.scope->get<tls::ServerSettings>().options;
}

// The client's certificate was judged by other authorities than those of the server it asks for.
bool judged_elsewhere(const tls::ServerContext& shaken, const VirtualServer& server) {
  using tls::ClientVerification;
  const auto& asked = server.scope->get<tls::ServerSettings>();
  if (shaken.options().verify == ClientVerification::off ||
      asked.options.verify == ClientVerification::off) {
    return false;
  }
  return !asked.context || shaken.judges_digest() != asked.context->judges_digest();
}

std::string negotiated_name(const ConnectionFacts& facts) {
  if (!facts.tls) return {};
  std::string name(tls::server_name_of(*facts.tls));
  if (name.ends_with('.')) name.pop_back();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace

// The server of the Host field. No field is as good as an unknown name, also where the TLS hello
// named a server.
void Exchange::choose_server() {
  const std::string name = negotiated_name(*facts_);
  const VirtualServer* negotiated = listener_.find_by_sni(name);
  const VirtualServer* server = name == head_->host ? negotiated : nullptr;
  if (!listener_.names.empty()) server = listener_.names.find(head_->host, &*main_);
  if (negotiated != nullptr && name != head_->host) {
    if (server == nullptr) server = listener_.default_server;
    misdirected_ = options_of(*server).verify != tls::ClientVerification::off;
    if (misdirected_) server = negotiated;  // which answers 421
  }
  // Without a name in the hello the default server has shaken hands, and answers as well.
  if (negotiated == nullptr && server != nullptr && facts_->tls != nullptr &&
      judged_elsewhere(facts_->tls->context(), *server)) {
    misdirected_ = true;
    server = listener_.default_server;
  }
  if (server == nullptr) return;
  main_->server_ = server;
  main_->scope_ = server->scope.get();
}

Request& Exchange::stand_in(const VirtualServer& server) {
  main_->server_ = &server;
  main_->scope_ = server.scope.get();
  return *main_;
}

// A status to refuse the request with; 0: it may go on.
int Exchange::refused_by_tls() {
  Request& main = *main_;
  if (facts_->plain_on_tls) {
    main.log(Severity::info,
             "client sent plain HTTP request to HTTPS port while reading client request headers");
    return 497;
  }
  const tls::ServerLayer* layer = facts_->tls;
  const tls::ClientVerification verify = options_of(*main.server_).verify;
  if (layer == nullptr || verify == tls::ClientVerification::off) return 0;
  const long result = tls::verification_result(*layer);
  const bool without_ca = verify == tls::ClientVerification::optional_no_ca;
  if (result != 0 && !(without_ca && tls::is_missing_issuer(result))) {
    main.log(Severity::info, "client SSL certificate verify error: (" + std::to_string(result) +
                                 ":" + tls::verification_text(result) +
                                 ") while reading client request headers");
    tls::forget_session(*layer);
    return 495;
  }
  if (verify == tls::ClientVerification::on && !tls::has_client_certificate(*layer)) {
    main.log(Severity::info,
             "client sent no required SSL certificate while reading client request headers");
    tls::forget_session(*layer);
    return 496;
  }
  if (const std::string& problem = layer->ocsp_problem(); !problem.empty()) {
    main.log(Severity::info, "client SSL certificate verify error: " + problem +
                                 " while reading client request headers");
    tls::forget_session(*layer);
    return 495;
  }
  return 0;
}

}  // namespace weir::http
