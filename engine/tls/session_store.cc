#include "engine/tls/session_store.h"

#include <cstring>

#include "engine/zone/table.h"

namespace weir::tls::session_store {
namespace {

constexpr int kMostEvictions = 16;

struct Stored : zone::Entry {
  int64_t expires = 0;
  zone::Place session = 0;
  uint32_t size = 0;
};
struct Sessions {
  zone::Table<Stored> table;
  void start(zone::Lock& lock) { table.start(lock); }
};
using Locked = zone::Locked<Sessions>;

void drop(Locked& sessions, Stored& stored) {
  if (stored.session) sessions.free(stored.session);
  sessions->table.remove(sessions, stored);
}

bool drop_oldest(Locked& sessions) {
  Stored* oldest = sessions->table.oldest(sessions);
  if (oldest) drop(sessions, *oldest);
  return oldest != nullptr;
}

bool try_add(Locked& sessions, std::string_view id, std::string_view session, int64_t expires) {
  const zone::Place place = sessions.allocate(session.size());
  if (!place) return false;
  Stored* stored = sessions->table.add(sessions, id);
  if (!stored) {
    sessions.free(place);
    return false;
  }
  std::memcpy(sessions.at<char>(place), session.data(), session.size());
  stored->session = place;
  stored->size = static_cast<uint32_t>(session.size());
  stored->expires = expires;
  return true;
}

}  // namespace

void add(const zone::Zone& zone, std::string_view id, std::string_view session, int64_t expires) {
  if (!zone.mapping() || id.empty() || session.empty() || session.size() > kLargestSession) return;
  Locked sessions(zone);
  if (Stored* known = sessions->table.find(sessions, id)) drop(sessions, *known);
  for (int tries = 0; tries < kMostEvictions; ++tries) {
    if (try_add(sessions, id, session, expires) || !drop_oldest(sessions)) return;
  }
}

std::string find(const zone::Zone& zone, std::string_view id, int64_t now) {
  if (!zone.mapping()) return {};
  Locked sessions(zone);
  Stored* stored = sessions->table.find(sessions, id);
  if (!stored) return {};
  if (stored->expires <= now) {
    drop(sessions, *stored);
    return {};
  }
  return {sessions.at<char>(stored->session), stored->size};
}

void remove(const zone::Zone& zone, std::string_view id) {
  if (!zone.mapping()) return;
  Locked sessions(zone);
  if (Stored* stored = sessions->table.find(sessions, id)) drop(sessions, *stored);
}

}  // namespace weir::tls::session_store
