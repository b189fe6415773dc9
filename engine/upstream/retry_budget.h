#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace weir::upstream {

// `retry_budget`: how many attempts after the first a cluster may make, over a sliding window: a
// share of its requests, and a few more so that a quiet one may try again at all. Retries cannot
// multiply an outage then.
struct RetryBudget {
  bool enabled = false;
  uint32_t percent = 0;  // of the requests of the window; may be over 100
  uint32_t least_per_thousand_seconds = 10'000;
  uint32_t window_milliseconds = 10'000;
};

// What is counted: of one worker, or (`zone`) in memory that all share. Plain data.
struct RetryCounts {
  static constexpr size_t kSlots = 10;  // of the window
  std::array<uint32_t, kSlots> requests{};
  std::array<uint32_t, kSlots> retries{};
  uint64_t slot = 0;  // the newest one's number

  // `now` in milliseconds of a clock that does not go back.
  void count_request(const RetryBudget& budget, uint64_t now);
  // Counts a retry if there may be one.
  bool take_retry(const RetryBudget& budget, uint64_t now);

 private:
  void turn(const RetryBudget& budget, uint64_t now);
};

}  // namespace weir::upstream
