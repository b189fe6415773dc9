#pragma once

#include <cstring>
#include <new>
#include <string_view>

#include "engine/zone/zone.h"

namespace weir::zone {

// Beginning of every entry of a Table; the key's bytes stand behind the entry.
struct Entry {
  Place next = 0;  // in its bucket
  Place newer = 0;
  Place older = 0;
  uint32_t hash = 0;
  uint32_t key_size = 0;
};

// Entries by key, in a zone, in the order of use. E derives from Entry. Part of the zone's first
// object; every call is made under the lock, which is given along.
template <class E>
class Table {
 public:
  // Once, when the zone's first object is made. Buckets for one entry in 128 bytes of zone.
  void start(Lock& lock) {
    bucket_mask_ = 15;
    while (uint64_t{bucket_mask_ + 1} * 256 <= lock.size() && bucket_mask_ < kMostBuckets) {
      bucket_mask_ = bucket_mask_ * 2 + 1;
    }
    const size_t bytes = (size_t{bucket_mask_} + 1) * sizeof(Place);
    buckets_ = lock.allocate(bytes);
    std::memset(lock.at<char>(buckets_), 0, bytes);
  }

  E* find(Lock& lock, std::string_view key) const { return find(lock, key, hash(lock, key)); }

  // `key` is not in the table. The newest entry, its own fields as E() has them; null: no memory.
  E* add(Lock& lock, std::string_view key) {
    const Place place = lock.allocate(sizeof(E) + key.size());
    if (!place) return nullptr;
    E* entry = new (lock.at<E>(place)) E();
    entry->hash = hash(lock, key);
    entry->key_size = static_cast<uint32_t>(key.size());
    std::memcpy(reinterpret_cast<char*>(entry) + sizeof(E), key.data(), key.size());
    Place& bucket = bucket_of(lock, entry->hash);
    entry->next = bucket;
    bucket = place;
    push(lock, *entry, place);
    ++count_;
    return entry;
  }

  // Makes it the newest.
  void touch(Lock& lock, E& entry) {
    const Place place = lock.place_of(&entry);
    if (newest_ == place) return;
    unlink(lock, entry);
    push(lock, entry, place);
  }

  void remove(Lock& lock, E& entry) {
    const Place place = lock.place_of(&entry);
    unlink(lock, entry);
    Place* at = &bucket_of(lock, entry.hash);
    while (*at != place) at = &lock.at<Entry>(*at)->next;
    *at = entry.next;
    --count_;
    lock.free(place);
  }

  // Null when the table is empty, or at the end.
  E* oldest(Lock& lock) const { return oldest_ ? lock.at<E>(oldest_) : nullptr; }
  E* newer(Lock& lock, const E& entry) const {
    return entry.newer ? lock.at<E>(entry.newer) : nullptr;
  }
  uint64_t count() const { return count_; }
  static std::string_view key(const E& entry) {
    return {reinterpret_cast<const char*>(&entry) + sizeof(E), entry.key_size};
  }

 private:
  static constexpr uint32_t kMostBuckets = (1u << 24) - 1;

  static uint32_t hash(Lock& lock, std::string_view key) {
    return static_cast<uint32_t>(lock.hash(key));
  }
  Place& bucket_of(Lock& lock, uint32_t hash) const {
    return lock.at<Place>(buckets_)[hash & bucket_mask_];
  }
  E* find(Lock& lock, std::string_view wanted, uint32_t hash) const {
    for (Place at = bucket_of(lock, hash); at;) {
      E* entry = lock.at<E>(at);
      if (entry->hash == hash && key(*entry) == wanted) return entry;
      at = entry->next;
    }
    return nullptr;
  }
  void push(Lock& lock, E& entry, Place place) {
    entry.newer = 0;
    entry.older = newest_;
    (newest_ ? lock.at<Entry>(newest_)->newer : oldest_) = place;
    newest_ = place;
  }
  void unlink(Lock& lock, E& entry) {
    (entry.newer ? lock.at<Entry>(entry.newer)->older : newest_) = entry.older;
    (entry.older ? lock.at<Entry>(entry.older)->newer : oldest_) = entry.newer;
  }

  Place buckets_ = 0;
  uint32_t bucket_mask_ = 0;
  Place newest_ = 0;
  Place oldest_ = 0;
  uint64_t count_ = 0;
};

}  // namespace weir::zone
