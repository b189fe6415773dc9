#include "engine/tls/credential_cache.h"

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

}  // namespace

std::string full_name(std::string_view folder, std::string_view name) {
  if (name.starts_with('/') || name.starts_with("data:")) return std::string(name);
  return std::string(folder) + std::string(name);
}

bool load_credential(const Credential& credential, const std::string& passwords,
                     const CertificateCache& rules, LoadedCredential& out, std::string& problem) {
  thread_local Cache cache;
  const time_t now = std::time(nullptr);
  const std::string name = credential.certificate + "\n" + credential.key + "\n" + passwords;
  if (rules.most > 0) {
    if (const LoadedCredential* known = cache.find(name, rules, now)) {
      out = *known;
      return true;
    }
  }
  conf::RealWorld world;
  out.chain = load_certificate(world, credential.certificate, problem);
  if (!out.chain) return false;
  out.key = load_key(world, credential.key, passwords, problem);
  if (!out.key) return false;
  if (rules.most > 0) cache.add(name, out, rules, now);
  return true;
}

}  // namespace weir::tls
