#pragma once

#include <string>

#include "engine/event/socket.h"
#include "engine/tls/native.h"

namespace weir::tls {

// OpenSSL's door to our Socket: reads go through it (so that it knows what the kernel holds),
// writes are gathered in `gathered` while it is set, to leave in one call.
BIO* new_socket_bio();
void bind_socket(BIO* bio, Socket* socket);

// The buffer that writes of this thread gather in.
struct Gathering {
  std::string bytes;
  static Gathering& get();
  // Empty again, and not larger than needed next time.
  void reset();
};

}  // namespace weir::tls
