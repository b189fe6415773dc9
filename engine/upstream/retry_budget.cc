#include "engine/upstream/retry_budget.h"

#include <limits>
#include <numeric>

namespace weir::upstream {

// Empties the slots that have passed since the last look. The window may be another one than then.
void RetryCounts::turn(const RetryBudget& budget, uint64_t now) {
  const uint64_t present = now / (budget.window_milliseconds / kSlots);
  if (present == slot) return;
  if (present < slot || present - slot >= kSlots) {
    requests.fill(0);
    retries.fill(0);
  } else {
    for (uint64_t at = slot + 1; at <= present; ++at) {
      requests[at % kSlots] = 0;
      retries[at % kSlots] = 0;
    }
  }
  slot = present;
}

void RetryCounts::count_request(const RetryBudget& budget, uint64_t now) {
  turn(budget, now);
  uint32_t& count = requests[slot % kSlots];
  if (count < std::numeric_limits<uint32_t>::max()) ++count;
}

bool RetryCounts::take_retry(const RetryBudget& budget, uint64_t now) {
  turn(budget, now);
  const uint64_t asked = std::accumulate(requests.begin(), requests.end(), uint64_t{0});
  const uint64_t tried = std::accumulate(retries.begin(), retries.end(), uint64_t{0});
  const uint64_t least =
      uint64_t{budget.least_per_thousand_seconds} * budget.window_milliseconds / 1'000'000;
  if (tried >= asked * budget.percent / 100 + least) return false;
  ++retries[slot % kSlots];
  return true;
}

}  // namespace weir::upstream
