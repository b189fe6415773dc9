#pragma once

#include <string>

#include "engine/tls/native.h"

namespace weir::tls {

// Sessions that peers gave us, to resume next time; this worker's own. At most kMost, the one used
// longest ago makes room; of each peer the latest.
struct ClientSessions {
  static constexpr size_t kMost = 1000;
  // OpenSSL's callback.
  static int on_new(SSL* connection, SSL_SESSION* session);
  // One more reference, or null. A session is given once where TLS 1.3 wants that.
  static SSL_SESSION* take(const std::string& key);
  static void keep(const std::string& key, SSL_SESSION* session);  // takes the reference
  static void forget(const std::string& key);
};

}  // namespace weir::tls
