#include "engine/tls/context_data.h"

namespace weir::tls {
namespace {

int context_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

const ServerContext* context_of(const SSL_CTX* context) {
  return static_cast<const ServerContext*>(SSL_CTX_get_ex_data(context, context_index()));
}

void attach(SSL_CTX* native, const ServerContext* context) {
  SSL_CTX_set_ex_data(native, context_index(), const_cast<ServerContext*>(context));
}

Layer* layer_of(const SSL* connection) {
  return static_cast<Layer*>(SSL_get_app_data(connection));
}

void attach(SSL* native, Layer* layer) {
  SSL_set_app_data(native, layer);
}

}  // namespace weir::tls
