#include "engine/tls/late_credentials.h"

#include <algorithm>
#include <ctime>
#include <list>
#include <unordered_map>

#include "confparse/worlds.h"
#include "engine/tls/files.h"

namespace weir::tls {
namespace {

// Pairs that were loaded, by name; this worker's own. Those used last come first.
struct Cached {
  std::string name;
  LoadedCredential loaded;
  time_t loaded_at;
  time_t used_at;
};
struct Cache {
  std::list<Cached> entries;
  std::unordered_map<std::string, std::list<Cached>::iterator> index;

  void erase(std::list<Cached>::iterator place) {
    index.erase(place->name);
    entries.erase(place);
  }
  const LoadedCredential* find(const std::string& name, const CertificateCache& rules, time_t now) {
    while (!entries.empty() && entries.back().used_at + rules.inactive < now) {
      erase(std::prev(entries.end()));
    }
    const auto found = index.find(name);
    if (found == index.end()) return nullptr;
    if (found->second->loaded_at + rules.valid < now) {
      erase(found->second);
      return nullptr;
    }
    found->second->used_at = now;
    entries.splice(entries.begin(), entries, found->second);
    return &found->second->loaded;
  }
  void add(const std::string& name, LoadedCredential loaded, const CertificateCache& rules,
           time_t now) {
    entries.push_front({name, std::move(loaded), now, now});
    index[name] = entries.begin();
    while (entries.size() > rules.most) erase(std::prev(entries.end()));
  }
};

std::string whole_name(const ServerSettings& settings, std::string_view name) {
  if (name.starts_with('/') || name.starts_with("data:")) return std::string(name);
  return settings.folder + std::string(name);
}

}  // namespace

bool load_late_credentials(ServerLayer& layer, const ServerSettings& settings,
                           conf::VariableSource& source) {
  thread_local Cache cache;
  const CertificateCache& rules = settings.cache;
  const time_t now = std::time(nullptr);
  const size_t count = std::min(settings.certificates.size(), settings.keys.size());
  for (size_t i = 0; i < count; ++i) {
    const Credential credential{whole_name(settings, settings.certificates[i].evaluate(source)),
                                whole_name(settings, settings.keys[i].evaluate(source))};
    const std::string name = credential.certificate + "\n" + credential.key;
    const LoadedCredential* known = rules.most > 0 ? cache.find(name, rules, now) : nullptr;
    LoadedCredential loaded;
    if (known) {
      loaded = *known;
    } else {
      if (!layer.load(credential, loaded)) return false;
      if (rules.most > 0) cache.add(name, loaded, rules, now);
    }
    if (!layer.use(loaded)) return false;
  }
  return count > 0;
}

}  // namespace weir::tls
