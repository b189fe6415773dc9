#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "engine/process/master.h"
#include "engine/process/privileges.h"
#include "engine/tls/material_checks.h"

// Reload in place: a helper process reads the new configuration, the master opens what is new, the
// workers compile it; when all are ready they are told to swap.

namespace weir::process {

namespace {

// How long workers may compile. One that is late is replaced.
constexpr int64_t kAnswerMilliseconds = 30000;
// How long the verdict waits for workers that swap or start.
constexpr int64_t kSettleMilliseconds = 10000;

}  // namespace

pid_t start_plan_helper(std::span<const conf::Module* const> modules, const Locations& locations,
                        uint64_t number, const MemoryFile& file) {
  tls::ticket_secret();  // the same in every plan
  const pid_t pid = fork();
  if (pid != 0) return pid < 0 ? -errno : pid;
  // Signals of the service's group are not for this one, but TERM ends it.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  MemoryFile out(dup(file.descriptor()));
  const int error = out.write_all(make_plan(modules, locations, number));
  _exit(error == 0 ? 0 : 1);
}

void Master::begin_reload() {
  if (stop_ != Stop::no) {
    control_.answer(false, "nginx: [notice] the service stops\n");
    return;
  }
  if (new_binary_ > 0) {
    resume_old_binary();
    return;
  }
  if (reload_) {
    reload_again_ = true;
    return;
  }
  log_.write(Severity::notice, "reconfiguring");
  reload_ = std::make_unique<Reload>();
  reload_->number = next_number_++;
  log_.capture(&reload_->report);
  reload_->plan_file = MemoryFile::create("weir-plan");
  reload_->helper =
      reload_->plan_file.is_open()
          ? start_plan_helper(start_.modules, start_.locations, reload_->number, reload_->plan_file)
          : -errno;
  if (reload_->helper < 0) {
    log_.write(Severity::alert, "fork() failed while spawning \"plan helper\"", -reload_->helper);
    finish_reload(false);
  }
}

void Master::helper_gone(int status) {
  reload_->helper = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    log_.write(Severity::alert, "the process that reads the configuration failed");
    finish_reload(false);
    return;
  }
  reload_->plan_file.seal();
  bool decoded = false;
  {
    const MemoryMap map(reload_->plan_file);
    decoded = Plan::decode(map.bytes(), reload_->plan);
    reload_->plan.bundle = {};
  }
  if (!decoded) {
    log_.write(Severity::alert, "the plan of the configuration cannot be read");
    finish_reload(false);
    return;
  }
  report_problems(reload_->plan);
  if (!reload_->plan.ok) {
    reload_->report += reload_->plan.explained;
    finish_reload(false);
    return;
  }
  open_and_ask();
}

void Master::report_problems(const Plan& plan) {
  for (const Plan::Problem& problem : plan.problems) log_.write(problem.severity, problem.text);
}

void Master::open_and_ask() {
  Reload& reload = *reload_;
  OpenOptions options;
  options.slots = worker_slots(reload.plan);
  options.before = &listeners_;
  options.zones_before = &zones_;
  options.wait = false;
  reload.resources = {};
  reload.deadline = 0;
  if (!open_resources(reload.plan, options, log_, reload.resources, false)) {
    bind_failed(reload.resources.try_again);
    return;
  }
  const std::string& pid_file = reload.plan.core.pid_file;
  if (pid_file != plan_.core.pid_file) {
    if (const int error = write_pid_file(pid_file)) {
      log_.write(Severity::emerg, "open() \"" + pid_file + "\" failed", error);
      close_sockets(reload.resources.listeners, &listeners_);
      abandon(reload.resources, log_);
      finish_reload(false);
      return;
    }
    reload.pid_file_made = true;
  }
  reload.replace = needs_new_workers(plan_.core, reload.plan.core);
  reload.phase = Reload::Phase::preparing;
  reload.deadline = monotonic_milliseconds() + kAnswerMilliseconds;
  if (!reload.replace) {
    for (Worker& worker : workers_) {
      if (!worker.leaving) ask_worker(worker);
    }
  }
  check_reload();
}

// An address in use may become free. Meanwhile signals are heard and dead workers come back.
void Master::bind_failed(bool try_again) {
  if (!try_again) {
    finish_reload(false);
  } else if (++reload_->bind_attempts < kBindAttempts) {
    reload_->deadline = monotonic_milliseconds() + kBindPauseMilliseconds;
  } else {
    tell_bind_failed(log_);
    finish_reload(false);
  }
}

// The plan, then every descriptor that this worker does not have yet.
void Master::ask_worker(Worker& worker) {
  const Reload& reload = *reload_;
  worker.asked = true;
  worker.answered = false;
  Message message;
  message.generation = reload.plan.number;
  std::vector<Message::Entry> entries;
  std::vector<int> descriptors;
  const auto& sockets = reload.resources.listeners.sockets;
  for (size_t i = 0; i < sockets.size(); ++i) {
    if (reload.resources.kept[i]) continue;
    entries.push_back({Message::Entry::Kind::listener, static_cast<uint32_t>(i)});
    descriptors.push_back(sockets[i].of(worker.slot));
  }
  const auto& files = reload.plan.resources.log_files;
  for (size_t i = 0; i < files.size(); ++i) {
    const auto& known = plan_.resources.log_files;
    if (std::find(known.begin(), known.end(), files[i]) != known.end()) continue;
    entries.push_back({Message::Entry::Kind::log, static_cast<uint32_t>(i)});
    descriptors.push_back(log_.table().descriptor(files[i]));
  }
  const ZoneSet& zones = reload.resources.zones;
  for (size_t i = 0; i < zones.size(); ++i) {
    if (!zones[i].is_new) continue;
    entries.push_back({Message::Entry::Kind::zone, static_cast<uint32_t>(i)});
    descriptors.push_back(zones[i].descriptor);
  }
  message.kind = Message::Kind::prepare;
  message.value = entries.size();
  tell(worker, message, {reload.plan_file.descriptor()});
  message.kind = Message::Kind::descriptors;
  for (size_t at = 0; at < entries.size();) {
    const size_t count = std::min(entries.size() - at, Message::kMostEntries);
    message.entry_count = static_cast<uint32_t>(count);
    std::copy_n(entries.begin() + static_cast<ptrdiff_t>(at), count, message.entries);
    const auto first = descriptors.begin() + static_cast<ptrdiff_t>(at);
    tell(worker, message, {first, first + static_cast<ptrdiff_t>(count)});
    at += count;
  }
}

void Master::read_worker(pid_t pid) {
  while (true) {
    // Found again each time: an answer may end the reload, and that forks others.
    const auto worker = std::find_if(workers_.begin(), workers_.end(),
                                     [&](const Worker& other) { return other.pid == pid; });
    if (worker == workers_.end() || worker->channel < 0) return;
    Message message;
    std::vector<int> descriptors;
    const Received received = receive_message(worker->channel, message, descriptors);
    // A worker has no descriptors to give.
    for (const int descriptor : descriptors) close(descriptor);
    if (received == Received::nothing) return;
    if (received == Received::message) {
      worker_answered(*worker, message);
    } else {
      shutdown_channel(*worker);
    }
  }
}

// The worker's end is closed: it dies. Its signal tells how; until then there is nothing to poll.
void Master::shutdown_channel(Worker& worker) {
  close(worker.channel);
  worker.channel = -1;
}

void Master::worker_answered(Worker& worker, const Message& message) {
  if (!reload_ || !worker.asked || message.generation != reload_->number) return;
  switch (message.kind) {
    case Message::Kind::ready:
      worker.answered = worker.answered || reload_->phase == Reload::Phase::preparing;
      break;
    case Message::Kind::in_force:
      worker.answered = worker.answered || reload_->phase == Reload::Phase::settling;
      break;
    case Message::Kind::failed:
      if (reload_->phase != Reload::Phase::preparing) break;
      log_.write(Severity::alert, "worker process " + std::to_string(worker.pid) +
                                      " cannot use the new configuration, the old one stays");
      drop_reload_everywhere();
      break;
    default:
      break;
  }
}

bool Master::all_answered() const {
  return std::all_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return !worker.asked || worker.answered || worker.leaving;
  });
}

void Master::check_reload() {
  if (!reload_) return;
  const bool late = monotonic_milliseconds() >= reload_->deadline;
  if (reload_->phase == Reload::Phase::reading) {
    if (reload_->deadline > 0 && late) open_and_ask();
    return;
  }
  if (!late && !all_answered()) return;
  if (reload_->phase == Reload::Phase::settling) {
    settled();
    return;
  }
  for (Worker& worker : workers_) {
    if (!worker.asked || worker.answered || worker.leaving) continue;
    log_.write(Severity::alert,
               "worker process " + std::to_string(worker.pid) + " does not answer, it is replaced");
    worker.leaving = true;
    kill(worker.pid, SIGKILL);
  }
  commit();
}

void Master::commit() {
  Reload& reload = *reload_;
  log_.write(Severity::notice, "using the \"epoll\" event method");
  Message message;
  message.kind = Message::Kind::commit;
  message.generation = reload.plan.number;
  std::vector<pid_t> asked;
  for (Worker& worker : workers_) {
    if (!worker.asked || worker.leaving) continue;
    worker.answered = false;
    asked.push_back(worker.pid);
  }
  const std::string pid_before = plan_.core.pid_file;
  const auto logs_before = plan_.resources.log_files;
  plan_ = std::move(reload.plan);
  plan_file_ = std::move(reload.plan_file);
  ListenerSet before = std::move(listeners_);
  listeners_ = std::move(reload.resources.listeners);
  steer(before);
  close_unused(before, listeners_);
  ZoneSet zones_before = std::move(zones_);
  zones_ = std::move(reload.resources.zones);
  close_unused_zones(zones_before, zones_);
  log_.use(plan_.core.error_log);
  const auto& logs = plan_.resources.log_files;
  log_files_ = std::make_shared<std::vector<std::string>>(logs);
  for (const std::string& path : logs_before) {
    if (std::find(logs.begin(), logs.end(), path) == logs.end()) log_.table().close(path);
  }
  log_.redirect_standard_error();
  if (pid_before != plan_.core.pid_file) move_pid_file(pid_before);
  reload.resources.logs.clear();
  reload.pid_file_made = false;
  reload.phase = Reload::Phase::settling;
  reload.deadline = monotonic_milliseconds() + kSettleMilliseconds;
  // New workers first: those that are there tell them which sessions they have.
  place_workers(reload.replace);
  for (Worker& worker : workers_) {
    if (std::find(asked.begin(), asked.end(), worker.pid) == asked.end()) continue;
    worker.generation = plan_.number;
    worker.log_files = log_files_;
    tell(worker, message, {});
  }
  check_reload();
}

// Fewer workers, each with a socket of its own: those that leave get no new connections, so that
// nothing waits at their sockets when these are closed (WorkerProcess::quit).
void Master::steer(const ListenerSet& before) {
  steer_no_more();
  for (const ListeningSockets& sockets : listeners_.sockets) {
    if (!sockets.options.reuseport || sockets.options.type != SOCK_STREAM) continue;
    const ListeningSockets* old = before.find(sockets.options);
    const auto count = static_cast<unsigned>(sockets.descriptors.size());
    if (!old || old->descriptors.size() <= count) continue;
    const int error = net::steer_connections(sockets.descriptors[0], count);
    if (error == 0) {
      steers_ = true;
    } else {
      log_.write(Severity::warn, "setsockopt(SO_ATTACH_REUSEPORT_CBPF) failed, ignored", error);
    }
  }
}

void Master::steer_no_more() {
  if (!std::exchange(steers_, false)) return;
  for (const ListeningSockets& sockets : listeners_.sockets) {
    if (!sockets.options.reuseport || sockets.options.type != SOCK_STREAM) continue;
    net::steer_connections(sockets.descriptors[0], 0);  // ENOENT: it was not
  }
}

// After a commit: missing workers come, those that stay are adjusted; those that cannot change, or
// are too many, go when the new ones serve (settled), so that somebody always accepts.
void Master::place_workers(bool replace) {
  no_accept_ = false;
  const auto wanted = static_cast<uint32_t>(std::max<int64_t>(plan_.core.worker_processes, 0));
  std::vector<bool> present(wanted, false);
  for (Worker& worker : workers_) {
    if (worker.leaving) continue;
    worker.replaced = replace || worker.slot >= wanted ||
                      !adjust_worker(worker.pid, plan_.core, worker.slot, worker.open_files, log_);
    if (!worker.replaced) present[worker.slot] = true;
  }
  for (uint32_t slot = 0; slot < wanted; ++slot) {
    if (present[slot]) continue;
    if (start_worker(slot)) workers_.back().asked = true;
  }
}

// Whoever is to read a socket does so now.
void Master::settled() {
  steer_datagrams(listeners_, worker_slots(plan_), log_);
  for (Worker& worker : workers_) {
    if (worker.replaced) quit_worker(worker);
  }
  finish_reload(true);
}

void Master::move_pid_file(const std::string& before) {
  unlink(before.c_str());
  // The clients that wait are answered on their connections, which stay.
  if (const int error = control_.move(plan_.core.pid_file)) {
    log_.write(Severity::warn, "no control socket \"" + plan_.core.pid_file + ".control\"", error);
  }
}

// Tells the workers to forget it, and closes what was opened for it.
void Master::drop_reload_everywhere() {
  Message message;
  message.kind = Message::Kind::abort;
  message.generation = reload_->number;
  for (Worker& worker : workers_) {
    if (worker.asked && !worker.leaving) tell(worker, message, {});
  }
  close_sockets(reload_->resources.listeners, &listeners_);
  abandon(reload_->resources, log_);
  if (reload_->pid_file_made) unlink(reload_->plan.core.pid_file.c_str());
  finish_reload(false);
}

void Master::drop_reload() {
  if (!reload_) return;
  if (reload_->helper > 0) {
    kill(reload_->helper, SIGKILL);
    waitpid(reload_->helper, nullptr, 0);
    reload_->helper = -1;
  }
  reload_again_ = false;
  drop_reload_everywhere();
}

void Master::finish_reload(bool accepted) {
  log_.capture(nullptr);
  const std::unique_ptr<Reload> reload = std::move(reload_);
  control_.answer(accepted, reload->report);
  for (Worker& worker : workers_) worker.asked = worker.answered = false;
  malloc_trim(0);
  if (stop_ != Stop::no) return;
  if (!no_accept_) start_missing_workers();
  if (std::exchange(reload_again_, false)) begin_reload();
}

}  // namespace weir::process
