#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/event/loop.h"
#include "engine/event/timer.h"

namespace weir::process {

// Gives memory back that a burst needed and nobody uses any more: what free lists keep, and free
// pages of the heap, wherever they are. It looks every few seconds while there are connections, and
// does it when this thread has had little to do since the last look, and since the last time the
// process has grown by a megabyte or half of the connections have gone. If there is reason again
// soon, the next time is put off for longer, up to a minute.
class IdleMemory {
 public:
  // `connections`: how many are open.
  IdleMemory(Loop& loop, const uint32_t& connections)
      : loop_(loop), connections_(connections), timer_(&IdleMemory::look, this) {}

  // There is something to do: a connection came.
  void watch() {
    if (!timer_.armed()) begin();
  }
  // Gives back now, whatever the load.
  void trim();

 private:
  void begin();
  static void look(void* self);
  bool is_quiet();
  bool is_worth_it() const;

  Loop& loop_;
  const uint32_t& connections_;
  Timer timer_;
  int64_t busy_before_ = 0;  // processor time at the last look, in microseconds
  size_t kept_ = 0;          // what the process had after the last time
  uint32_t connections_kept_ = 0;
  uint64_t trimmed_at_ = 0;
  uint32_t quiet_ = 0;     // looks that found little to do, in a row
  uint32_t patience_ = 1;  // and how many there must be
};

// Private memory of this process, in bytes; 0: the system does not say.
size_t private_memory();

}  // namespace weir::process
