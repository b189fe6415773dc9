#include "engine/tls/ocsp_cache.h"

#include "engine/zone/table.h"

namespace weir::tls::ocsp_cache {
namespace {

struct Stored : zone::Entry {
  int64_t until = 0;
  OcspAnswer::Status status = OcspAnswer::Status::failed;
};
struct Answers {
  zone::Table<Stored> table;
  void start(zone::Lock& lock) { table.start(lock); }
};
using Locked = zone::Locked<Answers>;

}  // namespace

std::optional<OcspAnswer::Status> find(const zone::Zone& zone, std::string_view key, time_t now) {
  if (!zone.mapping()) return {};
  Locked answers(zone);
  Stored* stored = answers->table.find(answers, key);
  if (!stored) return {};
  if (stored->until > now) return stored->status;
  answers->table.remove(answers, *stored);
  return {};
}

void add(const zone::Zone& zone, std::string_view key, OcspAnswer::Status status, time_t until) {
  if (!zone.mapping()) return;
  Locked answers(zone);
  Stored* stored = answers->table.find(answers, key);
  if (!stored) stored = answers->table.add(answers, key);
  if (!stored) {
    Stored* oldest = answers->table.oldest(answers);
    if (!oldest) return;
    answers->table.remove(answers, *oldest);
    stored = answers->table.add(answers, key);
  }
  if (!stored) return;
  stored->status = status;
  stored->until = until;
}

}  // namespace weir::tls::ocsp_cache
