#pragma once

#include <sys/types.h>

#include <bitset>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "confparse/value.h"
#include "engine/log/error_log.h"

namespace weir::process {

// What ngx_core_module's directives set, in the main scope; filled by modules/core.

using conf::Milliseconds;
using conf::Number;

inline constexpr size_t kMostProcessors = 1024;
using ProcessorMask = std::bitset<kMostProcessors>;

struct ThreadPool {
  std::string name;
  int64_t threads = 32;
  int64_t max_queue = 65536;
};

struct CoreSettings {
  bool daemon = true;
  bool master_process = true;
  int64_t worker_processes = 1;  // `auto` is resolved
  std::string pid_file;          // full path
  std::string lock_file;
  std::string working_directory;

  // Of `user`, or the one of the build; asked only where it matters (started by root).
  std::string user_name;
  bool user_known = false;
  uid_t user = 0;
  gid_t group = 0;

  ErrorLogTargets error_log;             // empty: the file of -e, level error
  std::vector<std::string> environment;  // "NAME" or "NAME=value"
  Number open_files{-1};                 // worker_rlimit_nofile; -1: as it is
  conf::FileOffset core_size{-1};        // worker_rlimit_core
  int priority = 0;
  bool affinity_auto = false;
  std::vector<ProcessorMask> affinity;
  Milliseconds shutdown_timeout{0};  // 0: none
  Milliseconds timer_resolution{0};
  bool pcre_jit = false;
  bool transparent = false;  // workers need CAP_NET_RAW (TransparentUse)
  std::vector<ThreadPool> thread_pools;
};

// Of the events block.
struct EventSettings {
  int64_t worker_connections = 512;
  bool multi_accept = false;
  bool accept_mutex = false;
  Milliseconds accept_mutex_delay{500};
  Number epoll_events{512};
  Number aio_requests{32};
  bool present = false;
};

}  // namespace weir::process
