#pragma once

#include <memory>

#include "confparse/template.h"
#include "engine/tls/options.h"

namespace weir::tls {
class ClientContext;
}

namespace weir::http {

// TLS to the peers of a location, as its *_ssl_* directives say. Made by the module while it
// compiles; part of the generation. Verification and session reuse are options of the context,
// whose digest is part of the key of pooled connections.
struct UpstreamTls {
  std::shared_ptr<const tls::ClientContext> context;
  conf::Template name;            // *_ssl_name; empty: the plan's tls_name
  bool send_server_name = false;  // *_ssl_server_name: SNI, unless the name is an address
  // *_ssl_certificate and its key when they have variables: evaluated for each request, relative to
  // `folder`, and loaded for each new connection, or taken from *_ssl_certificate_cache.
  conf::Template certificate, certificate_key;
  std::string folder;
  tls::CertificateCache cache;
};

}  // namespace weir::http
