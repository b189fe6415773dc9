#pragma once

#include <memory>
#include <vector>

#include "confparse/template.h"
#include "engine/tls/context.h"
#include "engine/tls/options.h"

namespace weir::tls {

// The settings of a server of http or stream: read by the TLS modules of both (modules/shared/ssl),
// used when connections are accepted.
struct ServerSettings {
  ServerOptions options;
  // As written, ssl_certificate and ssl_certificate_key by place.
  std::vector<conf::Template> certificates;
  std::vector<conf::Template> keys;
  std::string folder;  // of the configuration: relative names are from there
  CertificateCache cache;
  std::shared_ptr<const ServerContext> context;  // null: the server has no certificate
};

}  // namespace weir::tls
