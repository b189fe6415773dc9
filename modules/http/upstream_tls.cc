#include "modules/http/upstream_tls.h"

namespace weir::http {

UpstreamTls make_upstream_tls(conf::Compiler& compiler, const UpstreamTlsSettings& settings,
                              std::string_view prefix) {
  UpstreamTls made;
  made.context = make_client_context(compiler, settings, prefix);
  made.name = settings.name;
  made.send_server_name = settings.server_name;
  if (settings.late_certificate()) {
    made.certificate = settings.certificate;
    made.certificate_key = settings.certificate_key;
    made.folder = settings.folder;
    made.cache = settings.cache;
  }
  return made;
}

}  // namespace weir::http
