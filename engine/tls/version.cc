#include "engine/tls/version.h"

#include <openssl/crypto.h>

namespace weir::tls {

std::string library_version() {
  return OpenSSL_version(OPENSSL_VERSION);
}

}  // namespace weir::tls
