#include "engine/tls/material_checks.h"

#include "engine/tls/files.h"

namespace weir::tls {

int check_passwords(conf::World& world, const std::string& path) {
  return check_password_file(world, path);
}

bool takes_file(std::string_view command) {
  std::unique_ptr<SSL_CONF_CTX, Freer<SSL_CONF_CTX_free>> context(SSL_CONF_CTX_new());
  SSL_CONF_CTX_set_flags(context.get(), SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER |
                                            SSL_CONF_FLAG_CLIENT | SSL_CONF_FLAG_CERTIFICATE);
  const int type = SSL_CONF_cmd_value_type(context.get(), std::string(command).c_str());
  return type == SSL_CONF_TYPE_FILE || type == SSL_CONF_TYPE_DIR;
}

}  // namespace weir::tls
