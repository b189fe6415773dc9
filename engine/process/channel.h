#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace weir::process {

// Between the master and each worker: whole messages of fixed size over a socket pair, with
// descriptors from the master to the worker only. The master takes nothing from a worker but one of
// the answers below.
struct Message {
  enum class Kind : uint32_t {
    none,
    // master → worker
    prepare,      // a plan follows: descriptors[0] is its memory file; `value` descriptors in all
    descriptors,  // more of them, as `entries` say
    commit,       // the prepared generation is the one now
    abort,        // forget it
    logs,         // reopened log files, by place in the list of `generation`
    worker,       // another worker: descriptors[0] leads to it; value: its number and slot
    worker_gone,  // value: its number
    // worker → master
    ready,     // compiled
    failed,    // could not; the reason is in the worker's log
    in_force,  // this generation serves now (also said by a new worker)
  };
  struct Entry {
    enum class Kind : uint32_t { listener, log, zone } kind = Kind::listener;
    uint32_t index = 0;  // in Resources::listeners, ::log_files or ::zones
  };
  static constexpr size_t kMostEntries = 200;  // the kernel passes 253 descriptors at once

  Kind kind = Kind::none;
  uint32_t entry_count = 0;
  uint64_t generation = 0;
  uint64_t value = 0;
  Entry entries[kMostEntries] = {};
};

// For Message::Kind::worker: what `value` holds.
inline uint64_t worker_value(uint32_t number, uint32_t slot) {
  return uint64_t{number} << 32 | slot;
}

// Two connected ends, non-blocking and close-on-exec. 0 or an errno.
int open_channel(int ends[2]);

// The same for messages between workers (stream/steering.h): ends[0] is read by one of them,
// ends[1] written to by all others.
int open_inbox(int ends[2]);

// 0 or an errno (EAGAIN: full). The descriptors stay the caller's.
int send_message(int channel, const Message& message, const std::vector<int>& descriptors = {});
// As above, but waits for room, up to the given time.
int send_message_patiently(int channel, const Message& message, const std::vector<int>& descriptors,
                           int milliseconds);

enum class Received { message, nothing, closed };
// `descriptors` are the caller's. Malformed messages count as closed.
Received receive_message(int channel, Message& message, std::vector<int>& descriptors);

}  // namespace weir::process
