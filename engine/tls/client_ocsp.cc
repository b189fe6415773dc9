#include "engine/tls/client_ocsp.h"

#include <algorithm>

#include "engine/tls/context.h"
#include "engine/tls/material.h"
#include "engine/tls/ocsp_cache.h"
#include "engine/tls/report.h"

namespace weir::tls {
namespace {

std::string key_of(X509* certificate, X509* issuer) {
  OCSP_CERTID* id = OCSP_cert_to_id(nullptr, certificate, issuer);
  unsigned char* der = nullptr;
  const int size = id ? i2d_OCSP_CERTID(id, &der) : 0;
  OCSP_CERTID_free(id);
  if (size <= 0) return {};
  std::string key(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return digest_of(key);
}

}  // namespace

ClientOcsp::ClientOcsp(Loop& loop, const ServerContext& context, std::vector<X509Pointer> chain,
                       Done done, void* owner)
    : loop_(loop), context_(context), chain_(std::move(chain)), done_(done), owner_(owner) {
  count_ = chain_.empty() ? 0 : chain_.size() - 1;
  if (context.options().ocsp == OcspMode::leaf) count_ = std::min<size_t>(count_, 1);
}

bool ClientOcsp::advance() {
  if (query_) return false;
  while (problem_.empty() && at_ < count_) {
    if (!ask()) return false;
  }
  return true;
}

// False: the answer is still to come.
bool ClientOcsp::ask() {
  const ServerOptions& options = context_.options();
  X509* certificate = chain_[at_].get();
  X509* issuer = chain_[at_ + 1].get();
  key_ = key_of(certificate, issuer);
  if (options.ocsp_cache) {
    const time_t now = loop_.wall_milliseconds() / 1000;
    if (const auto known = ocsp_cache::find(*options.ocsp_cache, key_, now)) {
      judge(*known);
      return true;
    }
  }
  Responder responder = context_.material().responder;
  if (options.ocsp_responder.empty()) {
    const std::string url = responder_in(certificate);
    std::string problem;
    if (url.empty()) {
      report(Severity::error, "no OCSP responder URL in certificate");
      judge(OcspAnswer::Status::failed);
      return true;
    }
    if (!parse_responder(nullptr, url, responder, problem)) {
      report(Severity::error, problem + " in OCSP responder \"" + url + "\"");
      judge(OcspAnswer::Status::failed);
      return true;
    }
  }
  OcspTrust trust{SSL_CTX_get_cert_store(context_.native()), nullptr, true};
  query_ = std::make_unique<OcspQuery>(loop_, std::move(responder), certificate, issuer, trust,
                                       answered, this);
  OcspQuery* query = query_.get();
  starting_ = true;
  query->start();
  starting_ = false;
  return !query_;
}

void ClientOcsp::answered(void* self, OcspAnswer& answer) {
  auto& client = *static_cast<ClientOcsp*>(self);
  const auto query = std::move(client.query_);
  if (!answer.problem.empty()) report(Severity::error, answer.problem);
  const ServerOptions& options = client.context_.options();
  if (options.ocsp_cache && answer.status != OcspAnswer::Status::failed &&
      answer.valid_until != 0) {
    ocsp_cache::add(*options.ocsp_cache, client.key_, answer.status, answer.valid_until);
  }
  client.judge(answer.status);
  if (!client.starting_) client.done_(client.owner_);
}

void ClientOcsp::judge(OcspAnswer::Status status) {
  ++at_;
  if (status != OcspAnswer::Status::good) problem_ = status_text(status);
}

}  // namespace weir::tls
