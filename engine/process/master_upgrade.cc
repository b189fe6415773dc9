#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "engine/process/master.h"
#include "engine/process/title.h"
#include "engine/process/upgrade.h"

// Binary upgrade: USR2 starts the new program beside this one. WINCH then sends our workers home,
// QUIT ends us; HUP brings our workers back, with the configuration that they had. When the new
// process ends first, the old one is the service again.

namespace weir::process {

// While two generations of the program run, neither starts a third.
bool Master::ignores_upgrade() const {
  return getppid() == start_.parent || new_binary_ > 0;
}

// Does another master listen on these sockets too?
bool Master::is_accompanied() const {
  return new_binary_ > 0 || (start_.successor && getppid() == start_.parent);
}

void Master::change_binary() {
  if (ignores_upgrade()) {
    log_.write(Severity::crit,
               "the changing binary signal is ignored: you should shutdown or terminate before "
               "either old or new binary's process");
    return;
  }
  if (stop_ != Stop::no) return;
  log_.write(Severity::notice, "changing binary");
  drop_reload();
  const std::string& pid_file = plan_.core.pid_file;
  const std::string program = command_line().empty() ? std::string() : command_line()[0];
  if (rename(pid_file.c_str(), old_pid_file().c_str()) != 0) {
    log_.write(Severity::alert,
               "rename() " + pid_file + " to " + old_pid_file() +
                   " failed before executing new binary process \"" + program + "\"",
               errno);
    return;
  }
  (void)control_.move(old_pid_file());
  const pid_t pid = start_new_binary(listeners_, log_);
  if (pid > 0) {
    new_binary_ = pid;
    log_.write(Severity::notice, "start new binary process " + std::to_string(pid));
    return;
  }
  log_.write(Severity::alert, "fork() failed while spawning \"new binary process\"", -pid);
  new_binary_gone(0);
}

void Master::new_binary_gone(int status) {
  const std::string who = "new binary process " + std::to_string(new_binary_);
  if (WIFSIGNALED(status)) {
    log_.write(Severity::alert, who + " exited on signal " + std::to_string(WTERMSIG(status)));
  } else if (new_binary_ > 0) {
    log_.write(Severity::notice, who + " exited with code " + std::to_string(WEXITSTATUS(status)));
  }
  new_binary_ = 0;
  const std::string& pid_file = plan_.core.pid_file;
  if (rename(old_pid_file().c_str(), pid_file.c_str()) != 0) {
    log_.write(Severity::alert,
               "rename() " + old_pid_file() + " back to " + pid_file +
                   " failed after the new binary process exited",
               errno);
  }
  (void)control_.move(pid_file);
  if (stop_ == Stop::no && std::exchange(no_accept_, false)) start_missing_workers();
}

// HUP while the new program runs: our workers serve again.
void Master::resume_old_binary() {
  no_accept_ = false;
  start_missing_workers();
  control_.answer(true, "");
}

}  // namespace weir::process
