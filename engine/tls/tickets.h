#pragma once

#include <string>

#include "engine/tls/material.h"

namespace weir::tls {

// Sets the context's ticket keys: those of the material, or ones made of the secret and the
// session id context, so that one server's tickets mean nothing to others.
void set_ticket_keys(SSL_CTX* context, const Material& material, const std::string& secret);
// The content of a ssl_session_ticket_key file: 48 or 80 bytes.
bool parse_ticket_key(const std::string& bytes, TicketKey& out);

}  // namespace weir::tls
