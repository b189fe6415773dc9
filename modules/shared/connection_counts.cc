#include "modules/shared/connection_counts.h"

#include <cstring>

namespace weir::shared {
namespace {

struct TallyKey {
  zone::Place place;
  uint32_t process;
  std::string_view view() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
};

TallyKey read_key(const ConnectionTally& tally) {
  TallyKey key;
  std::memcpy(&key, zone::Table<ConnectionTally>::key(tally).data(), sizeof key);
  return key;
}

}  // namespace

uint16_t ConnectionCounts::process_number(uint32_t process) {
  size_t free = kMostProcesses;
  for (size_t i = 0; i < kMostProcesses; ++i) {
    if (processes[i] == process) return static_cast<uint16_t>(i + 1);
    if (processes[i] == 0 && free == kMostProcesses) free = i;
  }
  if (free == kMostProcesses) return 0;
  processes[free] = process;
  return static_cast<uint16_t>(free + 1);
}

ConnectionCounts::Counted ConnectionCounts::add(zone::Lock& lock, std::string_view key,
                                                uint32_t most) {
  Counted counted;
  ConnectionCount* entry = table.find(lock, key);
  if (!entry) {
    entry = table.add(lock, key);
    if (!entry) return counted;
  } else if (entry->connections >= most) {
    counted.outcome = Counted::Outcome::over;
    return counted;
  }
  ++entry->connections;
  counted.outcome = Counted::Outcome::counted;
  counted.place = lock.place_of(entry);
  counted.process = process_number(lock.process());
  if (!counted.process) return counted;
  if (entry->owned == 0 || entry->owner == counted.process) {
    entry->owner = counted.process;
    ++entry->owned;
    counted.holder = Counted::Holder::owner;
    return counted;
  }
  const TallyKey name{counted.place, counted.process};
  ConnectionTally* tally = tallies.find(lock, name.view());
  if (!tally) tally = tallies.add(lock, name.view());
  if (!tally) return counted;
  ++tally->connections;
  counted.holder = Counted::Holder::tally;
  return counted;
}

void ConnectionCounts::remove(zone::Lock& lock, const Counted& counted) {
  if (counted.holder == Counted::Holder::owner) {
    --lock.at<ConnectionCount>(counted.place)->owned;
  } else if (counted.holder == Counted::Holder::tally) {
    const TallyKey name{counted.place, counted.process};
    ConnectionTally* tally = tallies.find(lock, name.view());
    if (tally && --tally->connections == 0) tallies.remove(lock, *tally);
  }
  give_back(lock, counted.place, 1);
}

void ConnectionCounts::give_back(zone::Lock& lock, zone::Place place, uint32_t connections) {
  auto* entry = lock.at<ConnectionCount>(place);
  entry->connections = static_cast<uint16_t>(entry->connections - connections);
  if (entry->connections == 0) table.remove(lock, *entry);
}

void ConnectionCounts::remove_dead(zone::Lock& lock) {
  bool dead[kMostProcesses + 1] = {};
  bool any = false;
  for (size_t i = 0; i < kMostProcesses; ++i) {
    if (processes[i] == 0 || zone::is_alive(processes[i])) continue;
    dead[i + 1] = any = true;
    processes[i] = 0;
  }
  if (!any) return;
  for (ConnectionTally* tally = tallies.oldest(lock); tally;) {
    ConnectionTally* newer = tallies.newer(lock, *tally);
    const TallyKey key = read_key(*tally);
    if (dead[key.process]) {
      give_back(lock, key.place, tally->connections);
      tallies.remove(lock, *tally);
    }
    tally = newer;
  }
  for (ConnectionCount* entry = table.oldest(lock); entry;) {
    ConnectionCount* newer = table.newer(lock, *entry);
    if (dead[entry->owner]) {
      const uint16_t owned = entry->owned;
      entry->owned = entry->owner = 0;
      if (owned) give_back(lock, lock.place_of(entry), owned);
    }
    entry = newer;
  }
}

void ConnectionCounts::settle(zone::Mapping& mapping) {
  zone::Locked<ConnectionCounts> counts(mapping);
  counts->remove_dead(counts);
}

}  // namespace weir::shared
