#include "engine/tls/late_credentials.h"

#include <algorithm>

#include "engine/tls/credential_cache.h"

namespace weir::tls {

bool load_late_credentials(ServerLayer& layer, const ServerSettings& settings,
                           conf::VariableSource& source) {
  const size_t count = std::min(settings.certificates.size(), settings.keys.size());
  for (size_t i = 0; i < count; ++i) {
    const Credential credential{
        full_name(settings.folder, settings.certificates[i].evaluate(source)),
        full_name(settings.folder, settings.keys[i].evaluate(source))};
    if (!layer.load(credential, settings.cache)) return false;
  }
  return count > 0;
}

}  // namespace weir::tls
