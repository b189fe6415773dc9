#include "engine/process/resources.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "engine/net/datagram_slots.h"

namespace weir::process {

namespace {

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

void pause_before_retry() {
  const timespec pause{0, kBindPauseMilliseconds * 1000000L};
  nanosleep(&pause, nullptr);
}

// Makes the folder and gives it to the workers' user, as far as it is not so already.
bool make_folder(const std::string& path, const CoreSettings& core, ProcessLog& log) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    log.write(Severity::emerg, "mkdir() " + quoted(path) + " failed", errno);
    return false;
  }
  if (!core.user_known || geteuid() != 0) return true;
  struct stat facts{};
  if (stat(path.c_str(), &facts) != 0) {
    log.write(Severity::emerg, "stat() " + quoted(path) + " failed", errno);
    return false;
  }
  if (facts.st_uid != core.user && chown(path.c_str(), core.user, static_cast<gid_t>(-1)) != 0) {
    log.write(Severity::emerg,
              "chown(" + quoted(path) + ", " + std::to_string(core.user) + ") failed", errno);
    return false;
  }
  if ((facts.st_mode & S_IRWXU) != S_IRWXU && chmod(path.c_str(), facts.st_mode | S_IRWXU) != 0) {
    log.write(Severity::emerg, "chmod() " + quoted(path) + " failed", errno);
    return false;
  }
  return true;
}

bool open_logs(const Plan& plan, ProcessLog& log, OpenedResources& out) {
  for (const std::string& path : plan.resources.log_files) {
    if (log.table().has(path)) continue;
    if (const int error = log.table().open(path)) {
      log.write(Severity::emerg, "open() " + quoted(path) + " failed", error);
      return false;
    }
    out.logs.push_back(path);
  }
  return true;
}

// One socket, or one for each slot; those of `before` that fit are used again. What is still
// missing has descriptor -1 and may be tried again when `in_use` says so.
class SocketOpener {
 public:
  SocketOpener(const OpenOptions& options, ProcessLog& log) : options_(options), log_(log) {}

  void prepare(const ListenRequest& request, OpenedResources& out) {
    const size_t slots = std::max(1u, options_.slots);
    net::ListenOptions wanted = request.options;
    // Datagrams of one client must come to one worker: each has a socket of its own, and more may
    // come later.
    const bool datagrams = wanted.type == SOCK_DGRAM;
    if (datagrams && wanted.address.is_ip() && !options_.test) wanted.reuseport = true;
    const ListeningSockets* old = options_.before ? options_.before->find(wanted) : nullptr;
    ListeningSockets sockets;
    sockets.options = wanted;
    sockets.exclusive = wanted.reuseport && !request.options.reuseport && !old;
    if (old) sockets.descriptors = old->descriptors;
    // A socket of a slot without a worker would swallow connections: it goes. (Datagrams are not
    // sent there: settled when the workers have changed.)
    if (sockets.descriptors.size() > slots && !datagrams) sockets.descriptors.resize(slots);
    const size_t count = wanted.reuseport ? slots : 1;
    if (sockets.descriptors.size() < count) sockets.descriptors.resize(count, -1);
    if (old) share_port(*old, wanted);
    // Workers that shared one socket get their own.
    out.kept.push_back(old && (old->options.reuseport || !wanted.reuseport));
    out.listeners.sockets.push_back(std::move(sockets));
  }

  // True when nothing is missing, or in vain (failed_).
  bool attempt(OpenedResources& out) {
    bool missing = false;
    for (ListeningSockets& sockets : out.listeners.sockets) {
      if (sockets.exclusive && !is_free(sockets.options)) {
        missing = true;
        if (failed_) return true;
        continue;
      }
      sockets.exclusive = false;
      for (int& descriptor : sockets.descriptors) {
        if (descriptor >= 0) continue;
        if (!open_one(sockets.options, descriptor)) missing = true;
        if (failed_) return true;
      }
    }
    return !missing;
  }
  bool failed() const { return failed_; }

  // When nothing is missing: until then the sockets of `before` serve as they did.
  void tell_changes(const OpenedResources& out) {
    for (const ListeningSockets& sockets : out.listeners.sockets) {
      const auto* old = options_.before ? options_.before->find(sockets.options) : nullptr;
      if (old) tell_changes(*old, sockets.options);
    }
  }

 private:
  bool open_one(const net::ListenOptions& wanted, int& descriptor) {
    net::OpenedListener opened = net::open_listener(wanted);
    for (const net::CallFailure& ignored : opened.ignored) {
      log_.write(Severity::alert, ignored.what + ", ignored", ignored.error);
    }
    descriptor = opened.descriptor;
    if (descriptor >= 0) return true;
    if (opened.address_in_use && options_.test) {
      return true;  // perhaps the running service has it
    }
    log_.write(Severity::emerg, opened.failure.what, opened.failure.error);
    failed_ = !opened.address_in_use;
    return false;
  }

  // Sockets of datagrams are bound so that others can join them: is anybody there already?
  bool is_free(net::ListenOptions wanted) {
    wanted.reuseport = false;
    int descriptor = -1;
    if (!open_one(wanted, descriptor)) return false;
    if (descriptor >= 0) close(descriptor);
    return true;
  }

  // A socket that had its port for itself lets others join: the new ones bind beside it.
  void share_port(const ListeningSockets& old, const net::ListenOptions& wanted) {
    if (old.options.reuseport || !wanted.reuseport) return;
    const int on = 1;
    for (const int descriptor : old.descriptors) {
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
  }

  void tell_changes(const ListeningSockets& old, const net::ListenOptions& wanted) {
    for (const int descriptor : old.descriptors) {
      for (const net::CallFailure& failure : net::apply_changes(descriptor, old.options, wanted)) {
        log_.write(Severity::alert, failure.what + ", ignored", failure.error);
      }
    }
  }

  const OpenOptions& options_;
  ProcessLog& log_;
  bool failed_ = false;
};

// Clients keep their slot from the first datagram on. (Those of kept sockets move when the workers
// are ready.)
void steer_new(const OpenedResources& opened, uint32_t slots, ProcessLog& log) {
  ListenerSet fresh;
  for (size_t i = 0; i < opened.kept.size(); ++i) {
    if (!opened.kept[i]) fresh.sockets.push_back(opened.listeners.sockets[i]);
  }
  steer_datagrams(fresh, std::max(1u, slots), log);
}

bool open_sockets(const Plan& plan, const OpenOptions& options, ProcessLog& log,
                  OpenedResources& out) {
  SocketOpener opener(options, log);
  for (const ListenRequest& request : plan.resources.listeners) opener.prepare(request, out);
  for (int attempt = 0; attempt < kBindAttempts; ++attempt) {
    if (opener.attempt(out)) {
      if (!opener.failed() && !options.test) {
        opener.tell_changes(out);
        steer_new(out, options.slots, log);
      }
      return !opener.failed();
    }
    log.write(Severity::notice, "try again to bind() after 500ms");
    out.try_again = !options.wait;
    if (out.try_again) return false;
    pause_before_retry();
  }
  tell_bind_failed(log);
  return false;
}

}  // namespace

void tell_bind_failed(ProcessLog& log) {
  log.write(Severity::emerg, "still could not bind()");
}

uint32_t worker_slots(const Plan& plan) {
  return static_cast<uint32_t>(std::max<int64_t>(1, plan.core.worker_processes));
}

bool steer_datagrams(const ListenerSet& listeners, uint32_t slots, ProcessLog& log) {
  static bool told = false;
  bool steered = true;
  for (const ListeningSockets& sockets : listeners.sockets) {
    if (sockets.options.type != SOCK_DGRAM || !sockets.options.reuseport) continue;
    const int error = net::set_datagram_slots(sockets.descriptors[0], slots);
    // One that was bound for itself (inherited from nginx) has no others to choose from.
    if (!error || sockets.descriptors.size() < 2) continue;
    steered = false;
    if (told) continue;
    told = true;
    log.write(Severity::alert,
              "setsockopt(SO_ATTACH_REUSEPORT_CBPF) " + sockets.options.address.text() +
                  " failed, ignored",
              error);
  }
  return steered;
}

namespace {

bool owned_by(const ListenerSet* set, int descriptor) {
  if (!set) return false;
  for (const ListeningSockets& sockets : set->sockets) {
    if (std::find(sockets.descriptors.begin(), sockets.descriptors.end(), descriptor) !=
        sockets.descriptors.end()) {
      return true;
    }
  }
  return false;
}

void remove_socket_file(const net::ListenOptions& options) {
  if (options.address.is_unix() && !options.address.path().empty()) {
    unlink(std::string(options.address.path()).c_str());
  }
}

// Closes every descriptor of `set` that is not in `other`, and removes files of unix sockets that
// `other` does not listen on.
void close_difference(ListenerSet& set, const ListenerSet* other, bool remove_files = true) {
  for (ListeningSockets& sockets : set.sockets) {
    bool was_ours = false;
    for (int& descriptor : sockets.descriptors) {
      if (descriptor >= 0 && !owned_by(other, descriptor)) {
        close(descriptor);
        was_ours = true;
      }
      descriptor = -1;
    }
    if (remove_files && was_ours && (!other || !other->find(sockets.options)))
      remove_socket_file(sockets.options);
  }
  set.sockets.clear();
}

}  // namespace

int ListeningSockets::of(uint32_t slot) const {
  if (descriptors.empty()) return -1;
  return descriptors[slot < descriptors.size() ? slot : slot % descriptors.size()];
}

bool same_listener(const net::ListenOptions& a, const net::ListenOptions& b) {
  return a.type == b.type && a.address == b.address;
}

const ListeningSockets* ListenerSet::find(const net::ListenOptions& options) const {
  for (const ListeningSockets& candidate : sockets) {
    if (same_listener(candidate.options, options)) return &candidate;
  }
  return nullptr;
}

bool open_resources(const Plan& plan, const OpenOptions& options, ProcessLog& log,
                    OpenedResources& out, bool switch_log) {
  for (const TempFolder& folder : plan.resources.temp_folders) {
    if (!make_folder(folder.path, plan.core, log)) return false;
  }
  if (!open_logs(plan, log, out)) {
    abandon(out, log);
    return false;
  }
  if (switch_log) log.use(plan.core.error_log);
  // A test makes no zone: nobody would see it.
  if (!options.test && !open_zones(plan.resources.zones, options.zones_before, log, out.zones)) {
    abandon(out, log);
    return false;
  }
  if (open_sockets(plan, options, log, out)) return true;
  close_sockets(out.listeners, options.before);
  abandon(out, log);
  return false;
}

void abandon(OpenedResources& opened, ProcessLog& log) {
  for (const std::string& path : opened.logs) {
    // The log that the problem is told in stays open.
    const auto& targets = log.targets();
    const bool used =
        std::any_of(targets.begin(), targets.end(),
                    [&](const ErrorLogTarget& target) { return target.name == path; });
    if (!used) log.table().close(path);
  }
  opened.logs.clear();
  abandon_zones(opened.zones);
}

void close_sockets(ListenerSet& set, const ListenerSet* kept) {
  close_difference(set, kept);
}

void close_sockets_only(ListenerSet& set, const ListenerSet* kept) {
  close_difference(set, kept, false);
}

void close_unused(ListenerSet& before, const ListenerSet& after) {
  close_difference(before, &after);
}

void remove_socket_files(const ListenerSet& listeners) {
  for (const ListeningSockets& sockets : listeners.sockets) remove_socket_file(sockets.options);
}

int write_pid_file(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) return errno;
  const std::string text = std::to_string(getpid()) + "\n";
  const ssize_t written = write(descriptor, text.data(), text.size());
  const int error = written == static_cast<ssize_t>(text.size()) ? 0 : errno;
  close(descriptor);
  return error;
}

int check_pid_file(const std::string& path) {
  int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor >= 0) {
    unlink(path.c_str());
  } else if (errno == EEXIST) {
    descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
  }
  if (descriptor < 0) return errno;
  close(descriptor);
  return 0;
}

}  // namespace weir::process
