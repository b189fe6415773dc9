#include "engine/tls/sessions.h"

#include <list>
#include <unordered_map>

#include "engine/tls/context_data.h"
#include "engine/tls/layer.h"

namespace weir::tls {
namespace {

struct Entry {
  std::string key;
  std::unique_ptr<SSL_SESSION, Freer<SSL_SESSION_free>> session;
};
struct Table {
  std::list<Entry> entries;  // the latest first
  std::unordered_map<std::string, std::list<Entry>::iterator> index;
};
Table& table() {
  thread_local Table sessions;
  return sessions;
}

}  // namespace

int ClientSessions::on_new(SSL* connection, SSL_SESSION* session) {
  auto* layer = static_cast<ClientLayer*>(layer_of(connection));
  if (layer == nullptr || layer->session_key_.empty()) return 0;
  keep(layer->session_key_, session);
  return 1;  // the reference is ours
}

SSL_SESSION* ClientSessions::take(const std::string& key) {
  Table& all = table();
  const auto found = all.index.find(key);
  if (found == all.index.end()) return nullptr;
  SSL_SESSION* session = found->second->session.get();
  if (SSL_SESSION_is_resumable(session) == 0) {
    forget(key);
    return nullptr;
  }
  SSL_SESSION_up_ref(session);
  all.entries.splice(all.entries.begin(), all.entries, found->second);
  return session;
}

void ClientSessions::keep(const std::string& key, SSL_SESSION* session) {
  forget(key);
  Table& all = table();
  all.entries.push_front({key, {}});
  all.entries.front().session.reset(session);
  all.index[key] = all.entries.begin();
  if (all.entries.size() <= kMost) return;
  const std::string oldest = all.entries.back().key;
  forget(oldest);
}

void ClientSessions::forget(const std::string& key) {
  Table& all = table();
  const auto found = all.index.find(key);
  if (found == all.index.end()) return;
  all.entries.erase(found->second);
  all.index.erase(found);
}

}  // namespace weir::tls
