#include "engine/upstream/sticky.h"

namespace weir::upstream {
namespace {

// What one request removes at most of those that are too old.
constexpr int kExpiredAtOnce = 2;

std::string_view key_of(const Md5Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

bool too_old(const StickyPolicy& policy, const LearnedSession& session, uint64_t now) {
  return now > session.used &&
         now - session.used > static_cast<uint64_t>(policy.timeout_milliseconds);
}

}  // namespace

std::string_view first_value(const std::vector<conf::Template>& templates,
                             conf::VariableSource& source) {
  for (const conf::Template& one : templates) {
    const std::string_view value = one.evaluate(source);
    if (!value.empty()) return value;
  }
  return {};
}

std::optional<Md5Digest> find_session(const StickyPolicy& policy, std::string_view session,
                                      uint64_t now) {
  const Md5Digest key = md5(session);
  zone::Locked<LearnedSessions> sessions(*policy.zone);
  LearnedSession* found = sessions->table.find(sessions, key_of(key));
  if (!found) return {};
  if (too_old(policy, *found, now)) {
    sessions->table.remove(sessions, *found);
    return {};
  }
  found->used = now;
  sessions->table.touch(sessions, *found);
  return found->server;
}

void learn_session(const StickyPolicy& policy, std::string_view session, const Md5Digest& server,
                   uint64_t now) {
  const Md5Digest key = md5(session);
  zone::Locked<LearnedSessions> sessions(*policy.zone);
  for (int i = 0; i < kExpiredAtOnce; ++i) {
    LearnedSession* oldest = sessions->table.oldest(sessions);
    if (!oldest || !too_old(policy, *oldest, now)) break;
    sessions->table.remove(sessions, *oldest);
  }
  LearnedSession* entry = sessions->table.find(sessions, key_of(key));
  if (entry) {
    sessions->table.touch(sessions, *entry);
  } else {
    while (!(entry = sessions->table.add(sessions, key_of(key)))) {
      LearnedSession* oldest = sessions->table.oldest(sessions);
      if (!oldest) return;
      sessions->table.remove(sessions, *oldest);
    }
  }
  entry->server = server;
  entry->used = now;
}

}  // namespace weir::upstream
