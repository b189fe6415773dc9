#include "engine/process/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

namespace weir::process {

namespace {

rlimit both(int64_t value) {
  return {static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
}

// The mask for a slot; false when there is none.
bool mask_of(const CoreSettings& core, uint32_t slot, cpu_set_t& set) {
  if (core.affinity.empty()) return false;
  CPU_ZERO(&set);
  if (!core.affinity_auto) {
    const ProcessorMask& mask = core.affinity[std::min<size_t>(slot, core.affinity.size() - 1)];
    for (size_t i = 0; i < kMostProcessors && i < CPU_SETSIZE; ++i) {
      if (mask[i]) CPU_SET(i, &set);
    }
    return mask.any();
  }
  // auto: one processor each, in turn, of those that the mask allows and that are there.
  const auto online = static_cast<size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  std::vector<size_t> allowed;
  for (size_t i = 0; i < online && i < kMostProcessors; ++i) {
    if (core.affinity[0][i]) allowed.push_back(i);
  }
  if (allowed.empty()) return false;
  CPU_SET(allowed[slot % allowed.size()], &set);
  return true;
}

void set_affinity(pid_t process, const CoreSettings& core, uint32_t slot, ProcessLog& log) {
  cpu_set_t set;
  if (!mask_of(core, slot, set)) return;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) {
      log.write(Severity::notice, "sched_setaffinity(): using cpu #" + std::to_string(i));
    }
  }
  if (sched_setaffinity(process, sizeof set, &set) != 0) {
    log.write(Severity::alert, "sched_setaffinity() failed", errno);
  }
}

// Of root's capabilities, the one that sending from foreign addresses needs.
bool keep_raw_sockets(ProcessLog& log) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  data[0].effective = data[0].permitted = CAP_TO_MASK(CAP_NET_RAW);
  if (syscall(SYS_capset, &header, data) == 0) return true;
  log.write(Severity::emerg, "capset() failed", errno);
  return false;
}

bool take_user(const CoreSettings& core, ProcessLog& log) {
  if (geteuid() != 0 || !core.user_known) return true;
  if (setgid(core.group) != 0) {
    log.write(Severity::emerg, "setgid(" + std::to_string(core.group) + ") failed", errno);
    return false;
  }
  if (initgroups(core.user_name.c_str(), core.group) != 0) {
    log.write(Severity::emerg,
              "initgroups(" + core.user_name + ", " + std::to_string(core.group) + ") failed",
              errno);
  }
  if (core.transparent && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) {
    log.write(Severity::emerg, "prctl(PR_SET_KEEPCAPS, 1) failed", errno);
    return false;
  }
  if (setuid(core.user) != 0) {
    log.write(Severity::emerg, "setuid(" + std::to_string(core.user) + ") failed", errno);
    return false;
  }
  return !core.transparent || keep_raw_sockets(log);
}

// Only what `env` names stays, and TZ.
void set_environment(const CoreSettings& core) {
  std::vector<std::string> kept;
  bool zone = false;
  for (const std::string& wanted : core.environment) {
    zone = zone || wanted == "TZ" || wanted.starts_with("TZ=");
    if (wanted.find('=') != wanted.npos) {
      kept.push_back(wanted);
    } else if (const char* value = getenv(wanted.c_str())) {
      kept.push_back(wanted + "=" + value);
    }
  }
  if (!zone) {
    if (const char* value = getenv("TZ")) kept.push_back(std::string("TZ=") + value);
  }
  clearenv();
  for (const std::string& variable : kept) {
    const size_t equals = variable.find('=');
    setenv(variable.substr(0, equals).c_str(), variable.c_str() + equals + 1, 1);
  }
}

}  // namespace

bool become_worker(const CoreSettings& core, uint32_t slot, ProcessLog& log) {
  if (geteuid() == 0 && core.priority != 0 && setpriority(PRIO_PROCESS, 0, core.priority) != 0) {
    log.write(Severity::alert, "setpriority(" + std::to_string(core.priority) + ") failed", errno);
  }
  if (core.open_files.value >= 0) {
    const rlimit limit = both(core.open_files.value);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
      log.write(Severity::alert,
                "setrlimit(RLIMIT_NOFILE, " + std::to_string(core.open_files.value) + ") failed",
                errno);
    }
  }
  if (core.core_size.value >= 0) {
    const rlimit limit = both(core.core_size.value);
    if (setrlimit(RLIMIT_CORE, &limit) != 0) {
      log.write(Severity::alert,
                "setrlimit(RLIMIT_CORE, " + std::to_string(core.core_size.value) + ") failed",
                errno);
    }
  }
  if (!take_user(core, log)) return false;
  set_affinity(0, core, slot, log);
  // A change of user forbids core dumps; worker_rlimit_core decides.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) {
    log.write(Severity::alert, "prctl(PR_SET_DUMPABLE) failed", errno);
  }
  if (!core.working_directory.empty() && chdir(core.working_directory.c_str()) != 0) {
    log.write(Severity::alert, "chdir(\"" + core.working_directory + "\") failed", errno);
    return false;
  }
  set_environment(core);
  return true;
}

bool adjust_worker(pid_t worker, const CoreSettings& core, uint32_t slot, int64_t& open_files,
                   ProcessLog& log) {
  if (core.open_files.value >= 0 && core.open_files.value != open_files) {
    const rlimit limit = both(core.open_files.value);
    if (prlimit(worker, RLIMIT_NOFILE, &limit, nullptr) != 0) return false;
    open_files = core.open_files.value;
  }
  errno = 0;
  const int priority = getpriority(PRIO_PROCESS, static_cast<id_t>(worker));
  if (geteuid() == 0 && errno == 0 && priority != core.priority &&
      setpriority(PRIO_PROCESS, static_cast<id_t>(worker), core.priority) != 0) {
    return false;
  }
  cpu_set_t wanted;
  cpu_set_t now;
  if (!mask_of(core, slot, wanted)) return true;
  if (sched_getaffinity(worker, sizeof now, &now) == 0 && CPU_EQUAL(&wanted, &now)) return true;
  set_affinity(worker, core, slot, log);
  return true;
}

bool needs_new_workers(const CoreSettings& running, const CoreSettings& wanted) {
  return running.user != wanted.user || running.group != wanted.group ||
         running.user_name != wanted.user_name || running.environment != wanted.environment ||
         running.working_directory != wanted.working_directory ||
         running.core_size != wanted.core_size || running.transparent != wanted.transparent ||
         // What had no limit or mask set cannot be put back from outside.
         (running.open_files.value >= 0) != (wanted.open_files.value >= 0) ||
         running.affinity.empty() != wanted.affinity.empty();
}

}  // namespace weir::process
