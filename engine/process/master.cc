#include "engine/process/master.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "engine/process/privileges.h"
#include "engine/process/title.h"
#include "engine/process/worker_process.h"

namespace weir::process {

namespace {

constexpr int kSignals[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM, SIGUSR1,
                            SIGUSR2, SIGCHLD, SIGWINCH, SIGALRM, SIGIO};
// A worker that does not go by itself after TERM is killed.
constexpr int64_t kKillMilliseconds = 3000;
constexpr int kTellMilliseconds = 1000;
// The exit code of a worker that cannot work: it is not forked again.
constexpr int kFatalExit = 2;

const char* signal_name(int number) {
  switch (number) {
    case SIGHUP:
      return "SIGHUP";
    case SIGINT:
      return "SIGINT";
    case SIGQUIT:
      return "SIGQUIT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    case SIGCHLD:
      return "SIGCHLD";
    case SIGWINCH:
      return "SIGWINCH";
    case SIGALRM:
      return "SIGALRM";
    default:
      return "SIGIO";
  }
}

sigset_t master_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kSignals) sigaddset(&set, number);
  return set;
}

}  // namespace

int64_t monotonic_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

Master::Master(const Start& start, ProcessLog& log, MemoryFile plan_file, Plan plan,
               OpenedResources resources)
    : start_(start),
      log_(log),
      plan_file_(std::move(plan_file)),
      plan_(std::move(plan)),
      listeners_(std::move(resources.listeners)),
      zones_(std::move(resources.zones)),
      log_files_(std::make_shared<std::vector<std::string>>(plan_.resources.log_files)) {
  plan_.bundle = {};
  fixed_slots_ = steer_datagrams(listeners_, worker_slots(plan_), log_);
}

Master::~Master() {
  for (Worker& worker : workers_) close_worker(worker);
  if (signals_ >= 0) close(signals_);
}

void Master::block_signals() {
  const sigset_t set = master_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int Master::run() {
  const sigset_t set = master_signals();
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) {
    log_.write(Severity::emerg, "signalfd() failed", errno);
    return 1;
  }
  set_title("nginx: master process " + std::string(command_words()));
  if (const int error = control_.open(plan_.core.pid_file)) {
    // Reloads work by signal; only their verdict is not told.
    log_.write(Severity::warn, "no control socket \"" + plan_.core.pid_file + ".control\"", error);
  }
  log_.write(Severity::notice, "start worker processes");
  start_missing_workers();
  while (!finished()) poll_once();
  clean_up();
  log_.write(Severity::notice, "exit");
  return 0;
}

void Master::clean_up() {
  drop_reload();
  control_.remove();
  const std::string pid_file = new_binary_ > 0 ? old_pid_file() : plan_.core.pid_file;
  if (unlink(pid_file.c_str()) != 0) {
    log_.write(Severity::alert, "unlink() \"" + pid_file + "\" failed", errno);
  }
  close_sockets(listeners_, nullptr);
}

// --- waiting

int Master::poll_timeout() const {
  int64_t until = 0;
  if (kill_at_ > 0) until = kill_at_;
  if (reload_ && reload_->deadline > 0 && (until == 0 || reload_->deadline < until)) {
    until = reload_->deadline;
  }
  if (until == 0) return -1;
  return static_cast<int>(std::max<int64_t>(0, until - monotonic_milliseconds()));
}

void Master::poll_once() {
  std::vector<pollfd> waits;
  waits.push_back({signals_, POLLIN, 0});
  waits.push_back({control_.descriptor(), POLLIN, 0});  // -1 is passed over
  const std::vector<int> clients = control_.clients();
  for (const int client : clients) waits.push_back({client, POLLIN, 0});
  std::vector<pid_t> pids;
  for (const Worker& worker : workers_) {
    pids.push_back(worker.pid);
    waits.push_back({worker.channel, POLLIN, 0});
  }
  if (poll(waits.data(), waits.size(), poll_timeout()) < 0) return;
  if (waits[0].revents) read_signals();
  if (waits[1].revents) control_.accept_client();
  bool asked = false;
  for (size_t i = 0; i < clients.size(); ++i) {
    if (waits[2 + i].revents) asked = control_.read_client(clients[i]) || asked;
  }
  for (size_t i = 0; i < pids.size(); ++i) {
    if (waits[2 + clients.size() + i].revents) read_worker(pids[i]);
  }
  if (asked) begin_reload();
  check_reload();
  if (kill_at_ > 0 && monotonic_milliseconds() >= kill_at_) {
    kill_at_ = 0;
    end_workers(SIGKILL);
  }
}

// --- signals

void Master::read_signals() {
  signalfd_siginfo info;
  while (read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    handle_signal(info);
  }
}

void Master::handle_signal(const signalfd_siginfo& info) {
  const int number = static_cast<int>(info.ssi_signo);
  const char* action = "";
  switch (number) {
    case SIGTERM:
    case SIGINT:
      action = ", exiting";
      break;
    case SIGQUIT:
      action = ", shutting down";
      break;
    case SIGHUP:
      action = ", reconfiguring";
      break;
    case SIGUSR1:
      action = ", reopening logs";
      break;
    case SIGWINCH:
      if (start_.daemonized) action = ", stop accepting connections";
      break;
    case SIGUSR2:
      action = ignores_upgrade() ? ", ignoring" : ", changing binary";
      break;
    default:
      break;
  }
  std::string text = "signal " + std::to_string(number) + " (" + signal_name(number) + ") received";
  if (info.ssi_pid != 0) text += " from " + std::to_string(info.ssi_pid);
  log_.write(Severity::notice, text + action);
  switch (number) {
    case SIGTERM:
    case SIGINT:
      stop_workers(Stop::terminate);
      break;
    case SIGQUIT:
      stop_workers(Stop::quit);
      break;
    case SIGHUP:
      begin_reload();
      break;
    case SIGUSR1:
      reopen_logs();
      break;
    case SIGWINCH:
      if (!start_.daemonized) break;
      no_accept_ = true;
      for (Worker& worker : workers_) quit_worker(worker);
      break;
    case SIGUSR2:
      change_binary();
      break;
    case SIGCHLD:
      reap();
      break;
    default:
      break;
  }
}

void Master::stop_workers(Stop how) {
  if (stop_ == Stop::terminate) return;
  stop_ = how;
  drop_reload();
  control_.answer(false, "nginx: [notice] the service stops\n");
  // Nobody will accept again: connecting must fail, not wait. Files of unix sockets stay for the
  // process that serves beside this one.
  if (is_accompanied()) {
    close_sockets_only(listeners_, nullptr);
  } else {
    close_sockets(listeners_, nullptr);
  }
  if (how == Stop::quit) {
    for (Worker& worker : workers_) {
      // One that is leaving already hears that this is the end.
      if (worker.leaving) kill(worker.pid, SIGQUIT);
      quit_worker(worker);
    }
    return;
  }
  end_workers(SIGTERM);
  kill_at_ = monotonic_milliseconds() + kKillMilliseconds;
}

void Master::quit_worker(Worker& worker) {
  if (worker.leaving) return;
  worker.leaving = true;
  kill(worker.pid, SIGQUIT);
}

void Master::end_workers(int number) {
  for (Worker& worker : workers_) {
    worker.leaving = true;
    kill(worker.pid, number);
  }
}

void Master::tell(const Worker& worker, const Message& message,
                  const std::vector<int>& descriptors) {
  const int error = send_message_patiently(worker.channel, message, descriptors, kTellMilliseconds);
  // A worker that has just died is noticed by its signal.
  if (error != 0 && error != EPIPE && error != ECONNRESET) {
    log_.write(Severity::alert, "sendmsg() to worker " + std::to_string(worker.pid) + " failed",
               error);
  }
}

void Master::reopen_logs() {
  log_.write(Severity::notice, "reopening logs");
  if (const int error = log_.table().reopen_all()) {
    log_.write(Severity::emerg, "open() of a log file failed", error);
  }
  log_.redirect_standard_error();
  for (const Worker& worker : workers_) {
    // Those that the configuration in force does not name have been closed here: such a worker
    // goes on with what it has.
    const std::vector<std::string>& files = *worker.log_files;
    size_t at = 0;
    do {
      Message message;
      message.kind = Message::Kind::logs;
      message.generation = worker.generation;
      message.value = at;  // 0: the first message
      std::vector<int> descriptors;
      for (; at < files.size() && message.entry_count < Message::kMostEntries; ++at) {
        const int descriptor = log_.table().descriptor(files[at]);
        if (descriptor < 0) continue;
        message.entries[message.entry_count++] = {Message::Entry::Kind::log,
                                                  static_cast<uint32_t>(at)};
        descriptors.push_back(descriptor);
      }
      tell(worker, message, descriptors);
    } while (at < files.size());
  }
}

// --- children

void Master::reap() {
  while (true) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    if (reload_ && reload_->helper == pid) {
      helper_gone(status);
      continue;
    }
    if (pid == new_binary_) {
      new_binary_gone(status);
      continue;
    }
    // What it said last counts; that may end a reload and fork others.
    read_worker(pid);
    const auto found = std::find_if(workers_.begin(), workers_.end(),
                                    [&](const Worker& worker) { return worker.pid == pid; });
    if (found == workers_.end()) continue;
    Worker worker = *found;
    close_worker(worker);
    workers_.erase(found);
    Message message;
    message.kind = Message::Kind::worker_gone;
    message.value = worker.number;
    for (const Worker& other : workers_) {
      if (other.channel >= 0) tell(other, message, {});
    }
    const bool leave = std::any_of(workers_.begin(), workers_.end(), [this](const Worker& other) {
      return static_cast<int64_t>(other.slot) >= plan_.core.worker_processes;
    });
    if (!leave) steer_no_more();
    worker_gone(worker, status);
  }
}

void Master::worker_gone(Worker worker, int status) {
  const std::string who = "worker process " + std::to_string(worker.pid);
  if (WIFSIGNALED(status)) {
    log_.write(Severity::alert, who + " exited on signal " + std::to_string(WTERMSIG(status)) +
                                    (WCOREDUMP(status) ? " (core dumped)" : ""));
  } else {
    log_.write(Severity::notice, who + " exited with code " + std::to_string(WEXITSTATUS(status)));
  }
  if (worker.leaving || stop_ != Stop::no || no_accept_) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kFatalExit) {
    log_.write(Severity::alert, who + " exited with fatal code 2 and cannot be respawned");
    if (workers_.empty()) {
      // Nobody serves, and nobody will.
      stop_ = Stop::terminate;
    }
    return;
  }
  // When workers are asked the slot stays empty until it is known which configuration is in force.
  if (!reload_ || reload_->phase == Reload::Phase::reading) start_worker(worker.slot);
}

void Master::start_missing_workers() {
  const auto wanted = static_cast<uint32_t>(std::max<int64_t>(plan_.core.worker_processes, 0));
  std::vector<bool> present(wanted, false);
  for (const Worker& worker : workers_) {
    if (!worker.leaving && worker.slot < wanted) present[worker.slot] = true;
  }
  for (uint32_t slot = 0; slot < wanted; ++slot) {
    if (!present[slot]) start_worker(slot);
  }
}

bool Master::start_worker(uint32_t slot) {
  int channel[2];
  int inbox[2] = {-1, -1};
  if (const int error = open_channel(channel)) {
    log_.write(Severity::alert, "socketpair() failed while spawning \"worker process\"", error);
    return false;
  }
  if (const int error = open_inbox(inbox)) {
    log_.write(Severity::alert, "socketpair() failed, ignored", error);
  }
  Worker worker;
  worker.slot = slot;
  worker.number = next_worker_++;
  worker.open_files = plan_.core.open_files.value;
  worker.generation = plan_.number;
  worker.log_files = log_files_;
  worker.channel = channel[0];
  worker.inbox = inbox[1];
  worker.pid = fork();
  if (worker.pid == 0) {
    close_worker(worker);
    run_worker(worker, channel[1], inbox[0]);
  }
  close(channel[1]);
  if (inbox[0] >= 0) close(inbox[0]);
  if (worker.pid < 0) {
    log_.write(Severity::alert, "fork() failed while spawning \"worker process\"", errno);
    close_worker(worker);
    return false;
  }
  log_.write(Severity::notice, "start worker process " + std::to_string(worker.pid));
  introduce(worker);
  workers_.push_back(worker);
  return true;
}

// Tells the workers that are there of a new one; it knows of them since the fork.
void Master::introduce(const Worker& worker) {
  if (worker.inbox < 0) return;
  Message message;
  message.kind = Message::Kind::worker;
  message.value = worker_value(worker.number, worker.slot);
  for (const Worker& other : workers_) {
    if (other.channel >= 0) tell(other, message, {worker.inbox});
  }
}

void Master::close_worker(Worker& worker) {
  if (worker.channel >= 0) close(worker.channel);
  if (worker.inbox >= 0) close(worker.inbox);
  worker.channel = worker.inbox = -1;
}

// In the new process: lets go of what is the master's, gives up privileges, serves, ends.
void Master::run_worker(const Worker& self, int channel, int inbox) {
  const uint32_t slot = self.slot;
  WorkerStart start;
  for (const Worker& worker : workers_) {
    if (worker.channel >= 0) close(worker.channel);
    if (worker.inbox >= 0) start.others.push_back({worker.number, worker.slot, worker.inbox});
  }
  workers_.clear();
  control_.close_all();
  close(std::exchange(signals_, -1));
  log_.leave_terminal();
  log_.capture(nullptr);
  set_title("nginx: worker process");
  int code = kFatalExit;
  if (become_worker(plan_.core, slot, log_)) {
    // Sockets of other slots belong to other workers.
    for (ListeningSockets& sockets : listeners_.sockets) {
      for (size_t i = 0; i < sockets.descriptors.size(); ++i) {
        if (sockets.descriptors[i] != sockets.of(slot)) close(sockets.descriptors[i]);
      }
    }
    start.modules = start_.modules;
    start.log = &log_;
    start.slot = slot;
    start.worker_count = static_cast<uint32_t>(plan_.core.worker_processes);
    start.channel = channel;
    start.number = self.number;
    start.inbox = inbox;
    start.fixed_slots = fixed_slots_;
    start.plan = &plan_file_;
    start.listeners = &listeners_;
    start.zones = &zones_;
    WorkerProcess process(start);
    if (process.prepare()) {
      plan_file_.close();
      close_unused_zones(zones_, {});
      process.tell_in_force();
      code = process.run();
    }
  }
#if defined(__SANITIZE_ADDRESS__)
  exit(code);
#else
  _exit(code);
#endif
}

}  // namespace weir::process
