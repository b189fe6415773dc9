#pragma once

#include <cstdint>
#include <string_view>

#include "engine/zone/table.h"
#include "engine/zone/zone.h"

// What a zone of limit_conn holds: connections by key, and whose they are, so that those of a
// process that was killed can be taken out.
namespace weir::shared {

struct ConnectionCount : zone::Entry {
  uint16_t connections = 0;  // no limit is larger
  uint16_t owned = 0;        // of them, those of `owner`; of others' there are tallies
  uint16_t owner = 0;        // 1 + index in ConnectionCounts::processes
};

// The connections of one key that a process besides the key's owner has.
struct ConnectionTally : zone::Entry {
  uint32_t connections = 0;
};

struct ConnectionCounts {
  // Processes that have connections here; those beyond are counted, but not known.
  static constexpr size_t kMostProcesses = 128;
  zone::Table<ConnectionCount> table;
  zone::Table<ConnectionTally> tallies;  // by place of the count and number of the process
  uint32_t processes[kMostProcesses] = {};

  void start(zone::Lock& lock) {
    table.start(lock);
    tallies.start(lock);
  }

  // One connection of a key, as its process remembers it.
  struct Counted {
    enum class Outcome : uint8_t { counted, over, no_memory };
    enum class Holder : uint8_t { owner, tally, nobody };
    Outcome outcome = Outcome::no_memory;
    Holder holder = Holder::nobody;
    uint16_t process = 0;  // 1 + index
    zone::Place place = 0;
  };
  // Unless there are `most` already.
  Counted add(zone::Lock& lock, std::string_view key, uint32_t most);
  void remove(zone::Lock& lock, const Counted& counted);
  // Takes out what processes had that are gone.
  void remove_dead(zone::Lock& lock);
  // The same, for Zone::settle.
  static void settle(zone::Mapping& mapping);

 private:
  uint16_t process_number(uint32_t process);
  void give_back(zone::Lock& lock, zone::Place place, uint32_t connections);
};

}  // namespace weir::shared
