#pragma once

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/zone/request.h"
#include "engine/zone/slab.h"

// Memory that all workers share, by name: counters of limits, the state of upstream servers, TLS
// sessions.
//
// While compiling, a module declares its zone (registry.h) and keeps the shared_ptr<Zone> in its
// settings. The master makes a memory file for each new zone and hands its descriptor to the
// workers; a worker attaches the mapping before the generation is in force. At run time:
//
//   struct Visits {                          // plain data, zeroed when the zone is new or emptied
//     zone::Table<Visit> table;              // zone/table.h: keys, and the order of use
//     void start(zone::Lock& lock) { table.start(lock); }      // optional
//   };
//   {
//     zone::Locked<Visits> visits(*settings.zone);
//     Visit* visit = visits->table.find(visits, key);
//     if (!visit) visit = visits->table.add(visits, key);      // null: no memory
//     if (visit) ++visit->count;
//   }                                        // unlocked
//
// Rules: hold the lock for microseconds, never across co_await, a callback or a log line; do not
// lock a zone twice; keep no pointer into a zone beyond the lock, only a Place with the epoch it
// was got in (below). What stands in a zone holds numbers and Places, no pointers.
//
// A process that dies while it holds the lock leaves the contents in any state: the next one to
// lock empties the zone, and says so in its log (alert). Places from before are void then:
// remember Lock::epoch() with a Place that outlives the lock, and use it only while that is the
// same.
namespace weir::zone {

class Lock;

// A mapping in this process. Shared by all generations that have the zone.
class Mapping {
 public:
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Makes an empty zone in a new memory file of that size, which cannot be resized any more. The
  // descriptor is the caller's; -errno when it fails.
  static int create(const ZoneRequest& request);
  // Null when `descriptor` is no zone of that size. The descriptor stays the caller's.
  static std::shared_ptr<Mapping> open(int descriptor, uint64_t size);

  // Told (after the lock is held) when a zone was emptied because `process` died with its lock.
  std::function<void(std::string_view name, uint32_t process)> on_emptied;

 private:
  friend class Lock;
  friend class Zone;
  Mapping(char* base, uint64_t size) : base_(base), size_(size) {}
  char* base_;
  uint64_t size_;
  std::string name_;
};

// A zone of one generation.
class Zone {
 public:
  explicit Zone(ZoneRequest wanted) : request(std::move(wanted)) {}
  ZoneRequest request;

  // Given by who declares the zone: called when a process begins to use it (also with another
  // generation), to take out what processes left behind that are gone.
  void (*settle)(Mapping& mapping) = nullptr;

  // By the worker, before the generation is in force.
  void attach(std::shared_ptr<Mapping> mapping);
  const std::shared_ptr<Mapping>& mapping() const { return mapping_; }
  // Memory of this process only: for tests, and where no master made one. False: no memory.
  bool attach_private();

 private:
  std::shared_ptr<Mapping> mapping_;
};

// Holds a zone's lock; see Locked.
class Lock {
 public:
  explicit Lock(const Zone& zone) : Lock(*zone.mapping()) {}
  explicit Lock(Mapping& mapping);
  ~Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  // 0: no room. Not cleared.
  Place allocate(size_t size);
  void free(Place place);
  template <class T>
  T* at(Place place) {
    static_assert(std::is_trivially_copyable_v<T>);
    return reinterpret_cast<T*>(mapping_.base_ + size_t{place} * kUnit);
  }
  Place place_of(const void* object) const {
    return static_cast<Place>((static_cast<const char*>(object) - mapping_.base_) / kUnit);
  }
  // Grows each time the zone is emptied.
  uint64_t epoch() const;
  uint64_t size() const { return mapping_.size_; }
  // This process: what is_alive() is asked with.
  static uint32_t process();
  // A keyed hash: peers cannot choose texts that collide.
  uint64_t hash(std::string_view text) const;
  // Forgets all contents.
  void empty();
  size_t free_pages() const;
  // The first object of the zone; 0 while it has none.
  Place& root();

 private:
  Mapping& mapping_;
};

// The lock of a zone whose first object is a T.
template <class T>
class Locked : public Lock {
 public:
  explicit Locked(const Zone& zone) : Locked(*zone.mapping()) {}
  explicit Locked(Mapping& mapping) : Lock(mapping) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kUnit);
    if (root() == 0) start();
    root_ = at<T>(root());
  }
  T* operator->() { return root_; }
  T& operator*() { return *root_; }

 private:
  void start() {
    // A fresh zone has room for its first object: registry.h demands eight pages.
    root() = allocate(sizeof(T));
    T* made = new (at<T>(root())) T();
    if constexpr (requires(T& t, Lock& lock) { t.start(lock); }) made->start(*this);
  }
  T* root_;
};

// Is there still a process of this number? (A number that was given out anew is not told.)
bool is_alive(uint32_t process);

// SipHash-1-3.
uint64_t keyed_hash(const uint64_t (&key)[2], std::string_view text);

}  // namespace weir::zone
