#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/net/listener.h"
#include "engine/process/plan.h"
#include "engine/process/process_log.h"
#include "engine/process/zones.h"

namespace weir::process {

// One address that the master listens on: one socket for all workers, or one for each worker slot.
struct ListeningSockets {
  net::ListenOptions options;
  // One, or (reuseport, and datagrams) by slot. Of datagrams there may be more than slots: those
  // are left from when there were more workers, and nothing comes to them.
  std::vector<int> descriptors;

  bool exclusive = false;  // nobody else may have the address when the first is bound

  // The socket that the worker in `slot` accepts on.
  int of(uint32_t slot) const;
};

// The sockets of one generation, in the order of its Resources::listeners. Owns the descriptors
// while they are not handed on.
class ListenerSet {
 public:
  ListenerSet() = default;
  ListenerSet(const ListenerSet&) = delete;
  ListenerSet& operator=(const ListenerSet&) = delete;
  ListenerSet(ListenerSet&&) = default;
  ListenerSet& operator=(ListenerSet&&) = default;

  std::vector<ListeningSockets> sockets;
  const ListeningSockets* find(const net::ListenOptions& options) const;
};

// Could one socket serve both (same address and kind)?
bool same_listener(const net::ListenOptions& a, const net::ListenOptions& b);

// What opening a plan's resources gave beyond what was there before; given back by abandon().
struct OpenedResources {
  ListenerSet listeners;          // complete: kept ones and new ones
  std::vector<bool> kept;         // by listener: taken over from `before`
  std::vector<std::string> logs;  // opened here, in the log's table
  ZoneSet zones;                  // complete: kept ones and new ones
  bool pid_file_made = false;
  bool try_again = false;  // OpenOptions::wait
};

struct OpenOptions {
  bool test = false;   // -t: an address in use is no problem, and nothing listens
  uint32_t slots = 1;  // worker slots, for reuseport
  const ListenerSet* before = nullptr;
  const ZoneSet* zones_before = nullptr;
  // For an address in use to become free, as nginx does. Without: such an attempt fails, and
  // OpenedResources::try_again says that another may help, in kBindPauseMilliseconds, up to
  // kBindAttempts in all; after the last tell_bind_failed().
  bool wait = true;
};
inline constexpr int kBindAttempts = 5;
inline constexpr int kBindPauseMilliseconds = 500;

// Temp folders, log files, zones, sockets, in nginx's order; problems go to `log` with nginx's
// texts. When the log files are open, `log` switches to the plan's targets (switch_log). False:
// everything that was opened is closed again.
bool open_resources(const Plan& plan, const OpenOptions& options, ProcessLog& log,
                    OpenedResources& out, bool switch_log);
void abandon(OpenedResources& opened, ProcessLog& log);
void tell_bind_failed(ProcessLog& log);

uint32_t worker_slots(const Plan& plan);

// Datagrams come to the sockets of the first `slots` workers from now on, each client to the one
// that net::datagram_slot() says. False: the kernel cannot (told once in the log).
bool steer_datagrams(const ListenerSet& listeners, uint32_t slots, ProcessLog& log);

// Closes the sockets that are not in `kept` (null: all), with the files of unix sockets.
void close_sockets(ListenerSet& set, const ListenerSet* kept);
// The same, leaving the files: another process listens there (binary upgrade).
void close_sockets_only(ListenerSet& set, const ListenerSet* kept);
// Closes what `before` had and `after` has not; removes the files of unix sockets that are gone.
void close_unused(ListenerSet& before, const ListenerSet& after);
// Removes the files of unix sockets (the end of the service).
void remove_socket_files(const ListenerSet& listeners);

// --- the pid file
// Writes the number of this process; 0 or an errno.
int write_pid_file(const std::string& path);
// Could it be written (-t)? Leaves nothing behind. 0 or an errno.
int check_pid_file(const std::string& path);

}  // namespace weir::process
