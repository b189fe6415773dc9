#include "modules/http/request_rate.h"

#include <algorithm>
#include <cstdlib>

namespace weir::http {

namespace {

constexpr uint64_t kRequest = 1000;
constexpr uint64_t kOldMilliseconds = 60000;

// Since the bucket's last request. Clocks of workers are read at different moments: a little
// backwards is nothing, a lot means that the counter went around.
uint64_t elapsed(const Bucket& bucket, uint64_t now) {
  const auto difference = static_cast<int64_t>(now - bucket.last);
  if (difference < -static_cast<int64_t>(kOldMilliseconds)) return 1;
  return difference < 0 ? 0 : static_cast<uint64_t>(difference);
}

uint64_t excess_now(const Bucket& bucket, uint64_t rate, uint64_t passed) {
  const uint64_t leaked = rate * passed / 1000;
  return bucket.excess + kRequest > leaked ? bucket.excess + kRequest - leaked : 0;
}

void remember(Bucket& bucket, uint64_t excess, uint64_t passed, uint64_t now) {
  bucket.excess = excess;
  if (passed) bucket.last = now;
}

// Removes up to two buckets that have run empty; by force the oldest too.
void expire(zone::Locked<Buckets>& buckets, uint64_t rate, uint64_t now, bool force) {
  for (int i = force ? 0 : 1; i < 3; ++i) {
    Bucket* oldest = buckets->table.oldest(buckets);
    // Older ones are not held by a check under way.
    if (!oldest || oldest->held) return;
    if (i > 0) {
      const auto passed =
          static_cast<uint64_t>(std::llabs(static_cast<int64_t>(now - oldest->last)));
      if (passed < kOldMilliseconds || oldest->excess > rate * passed / 1000) return;
    }
    buckets->table.remove(buckets, *oldest);
  }
}

Bucket* add(zone::Locked<Buckets>& buckets, const RateZone& zone, std::string_view key,
            uint64_t now) {
  expire(buckets, zone.rate, now, false);
  if (Bucket* bucket = buckets->table.add(buckets, key)) return bucket;
  expire(buckets, zone.rate, now, true);
  return buckets->table.add(buckets, key);
}

// A bucket that waits for the verdict of the limits behind it.
struct Held {
  const RateLimit* limit;
  zone::Place place;
  uint64_t epoch;
};

enum class Look : uint8_t { counted, held, over, no_memory };

Look look(const RateKey& key, bool count, uint64_t now, uint64_t& excess, Held& held) {
  const RateZone& zone = *key.limit->zone;
  zone::Locked<Buckets> buckets(*zone.zone);
  held = {key.limit, 0, buckets.epoch()};
  Bucket* bucket = buckets->table.find(buckets, key.key);
  excess = 0;
  if (!bucket) {
    bucket = add(buckets, zone, key.key, now);
    if (!bucket) return Look::no_memory;
    if (count) bucket->last = now;
  } else {
    buckets->table.touch(buckets, *bucket);
    const uint64_t passed = elapsed(*bucket, now);
    excess = excess_now(*bucket, zone.rate, passed);
    if (excess > key.limit->burst) return Look::over;
    if (count) remember(*bucket, excess, passed, now);
  }
  if (count) return Look::counted;
  ++bucket->held;
  held.place = buckets.place_of(bucket);
  return Look::held;
}

void let_go(const std::vector<Held>& all) {
  for (const Held& held : all) {
    zone::Locked<Buckets> buckets(*held.limit->zone->zone);
    if (buckets.epoch() == held.epoch) --buckets.at<Bucket>(held.place)->held;
  }
}

uint64_t delay_of(const RateLimit& limit, uint64_t excess) {
  return excess <= limit.delay ? 0 : (excess - limit.delay) * 1000 / limit.zone->rate;
}

// Adds the request to the held buckets, the last first; the longest delay counts.
void count_held(const std::vector<Held>& all, uint64_t now, RateVerdict& verdict) {
  for (size_t i = all.size(); i-- > 0;) {
    const Held& held = all[i];
    zone::Locked<Buckets> buckets(*held.limit->zone->zone);
    if (buckets.epoch() != held.epoch) continue;
    auto* bucket = buckets.at<Bucket>(held.place);
    const uint64_t passed = elapsed(*bucket, now);
    const uint64_t excess = excess_now(*bucket, held.limit->zone->rate, passed);
    remember(*bucket, excess, passed, now);
    --bucket->held;
    const uint64_t delay = delay_of(*held.limit, excess);
    if (delay > verdict.delay) {
      verdict.delay = delay;
      verdict.excess = excess;
      verdict.limit = held.limit;
    }
  }
}

}  // namespace

RateVerdict count_request(const std::vector<RateKey>& keys, bool last_counts, uint64_t now) {
  RateVerdict verdict;
  if (keys.empty()) return verdict;
  std::vector<Held> all;
  for (size_t i = 0; i < keys.size(); ++i) {
    const bool count = last_counts && i + 1 == keys.size();
    Held held;
    uint64_t excess = 0;
    const Look found = look(keys[i], count, now, excess, held);
    if (found == Look::held) {
      all.push_back(held);
      continue;
    }
    verdict.limit = keys[i].limit;
    verdict.excess = excess;
    if (found == Look::counted) {
      verdict.delay = delay_of(*keys[i].limit, excess);
      break;
    }
    let_go(all);
    verdict.kind = found == Look::over ? RateVerdict::Kind::reject : RateVerdict::Kind::no_memory;
    return verdict;
  }
  count_held(all, now, verdict);
  verdict.kind = verdict.delay ? RateVerdict::Kind::delay : RateVerdict::Kind::pass;
  return verdict;
}

}  // namespace weir::http
