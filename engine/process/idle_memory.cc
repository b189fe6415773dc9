#include "engine/process/idle_memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "engine/base/free_list.h"

namespace weir::process {

namespace {

constexpr uint64_t kLookMilliseconds = 3000;
// A tenth of the time between two looks, in microseconds.
constexpr int64_t kLittle = kLookMilliseconds * 1000 / 10;
constexpr size_t kWorthIt = size_t{1} << 20;
constexpr uint64_t kSoonMilliseconds = 30000;
constexpr uint32_t kMostPatience = 20;

int64_t busy_microseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000000 + time.tv_nsec / 1000;
}

}  // namespace

size_t private_memory() {
  const int descriptor = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return 0;
  char text[128] = {};
  const ssize_t size = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (size <= 0) return 0;
  char* at = text;
  std::strtoull(at, &at, 10);  // addresses
  const auto resident = std::strtoull(at, &at, 10);
  const auto shared = std::strtoull(at, &at, 10);
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return resident > shared ? (resident - shared) * page : 0;
}

void IdleMemory::begin() {
  // What the first connections need is not what a burst left.
  if (kept_ == 0) kept_ = private_memory();
  busy_before_ = busy_microseconds();
  quiet_ = 0;
  timer_.arm(loop_, kLookMilliseconds);
}

void IdleMemory::look(void* self) {
  auto& memory = *static_cast<IdleMemory*>(self);
  bool again = memory.connections_ > 0;
  if (!memory.is_quiet()) {
    again = true;
  } else if (memory.is_worth_it()) {
    if (memory.quiet_ < memory.patience_) {
      again = true;
    } else {
      memory.trim();
    }
  }
  if (again) memory.timer_.arm(memory.loop_, kLookMilliseconds);
}

bool IdleMemory::is_quiet() {
  const int64_t busy = busy_microseconds();
  quiet_ = busy - busy_before_ < kLittle ? quiet_ + 1 : 0;
  busy_before_ = busy;
  return quiet_ > 0;
}

bool IdleMemory::is_worth_it() const {
  // Few can have held much. (Each time it is done for this reason halves what is compared with.)
  const bool gone = connections_kept_ > 0 && connections_ <= connections_kept_ / 2;
  return gone || private_memory() >= kept_ + kWorthIt;
}

void IdleMemory::trim() {
  const uint64_t now = loop_.now();
  const bool soon = trimmed_at_ != 0 && now - trimmed_at_ < kSoonMilliseconds * patience_;
  patience_ = soon ? std::min(2 * patience_, kMostPatience) : 1;
  trimmed_at_ = now;
  drain_free_lists();
  malloc_trim(0);
  kept_ = private_memory();
  connections_kept_ = connections_;
}

}  // namespace weir::process
