#pragma once

#include <openssl/ssl.h>

namespace weir::tls {

class Layer;
class ServerContext;

// OpenSSL's objects point back to ours.
const ServerContext* context_of(const SSL_CTX* context);
void attach(SSL_CTX* native, const ServerContext* context);
Layer* layer_of(const SSL* connection);
void attach(SSL* native, Layer* layer);

}  // namespace weir::tls
