#include "engine/process/service.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "confparse/print.h"
#include "confparse/value.h"
#include "confparse/worlds.h"
#include "engine/process/build_info.h"
#include "engine/process/compile_generation.h"
#include "engine/process/control.h"
#include "engine/process/master.h"
#include "engine/process/process_log.h"
#include "engine/process/resources.h"
#include "engine/process/single.h"
#include "engine/process/upgrade.h"

namespace weir::process {

namespace {

// Reads the configuration in a helper process. False after saying what went wrong with that.
bool read_plan(std::span<const conf::Module* const> modules, const Locations& locations,
               ProcessLog& log, MemoryFile& file) {
  file = MemoryFile::create("weir-plan");
  const pid_t helper =
      file.is_open() ? start_plan_helper(modules, locations, 1, file) : static_cast<pid_t>(-errno);
  if (helper < 0) {
    log.write(Severity::emerg, "fork() failed while spawning \"plan helper\"", -helper);
    return false;
  }
  int status = 0;
  while (waitpid(helper, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    log.write(Severity::emerg, "the process that reads the configuration failed");
    return false;
  }
  file.seal();
  return true;
}

// What nginx notes when it starts.
void note_start(const Plan& plan, ProcessLog& log) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  log.write(Severity::notice, "using the \"epoll\" event method");
  const auto connections = static_cast<rlim_t>(plan.events.worker_connections);
  const bool has_own = plan.core.open_files.value >= 0;
  const rlim_t own = has_own ? static_cast<rlim_t>(plan.core.open_files.value) : limit.rlim_cur;
  if (connections > limit.rlim_cur && connections > own) {
    log.write(Severity::warn,
              std::to_string(plan.events.worker_connections) +
                  " worker_connections exceed open file resource limit: " + std::to_string(own));
  }
  log.write(Severity::notice, product());
  utsname system{};
  uname(&system);
  log.write(Severity::notice, std::string("OS: ") + system.sysname + " " + system.release);
  log.write(Severity::notice, "getrlimit(RLIMIT_NOFILE): " + std::to_string(limit.rlim_cur) + ":" +
                                  std::to_string(limit.rlim_max));
}

// To the background: true in the process that goes on there, whose `parent` has gone.
bool become_daemon(ProcessLog& log, pid_t& parent) {
  parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    log.write(Severity::emerg, "fork() failed", errno);
    _exit(1);
  }
  if (pid > 0) return false;
  if (setsid() < 0) log.write(Severity::emerg, "setsid() failed", errno);
  umask(0);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (null > STDERR_FILENO) close(null);
  }
  return true;
}

}  // namespace

int run_service(std::span<const conf::Module* const> modules, const Locations& locations) {
  ProcessLog log(locations.error_log);
  const bool successor = is_successor();
  pid_t parent = getppid();
  ListenerSet inherited = take_inherited_sockets(log);
  MemoryFile file;
  if (!read_plan(modules, locations, log, file)) return 1;
  Plan plan;
  {
    const MemoryMap map(file);
    if (!Plan::decode(map.bytes(), plan)) {
      log.write(Severity::emerg, "the plan of the configuration cannot be read");
      return 1;
    }
    plan.bundle = {};
  }
  for (const Plan::Problem& problem : plan.problems) log.write(problem.severity, problem.text);
  if (!plan.ok) {
    print_error(plan.explained);
    return 1;
  }
  OpenOptions options;
  if (plan.core.master_process) {
    options.slots = worker_slots(plan);
  }
  if (successor) options.before = &inherited;
  OpenedResources resources;
  if (!open_resources(plan, options, log, resources, true)) return 1;
  close_sockets_only(inherited, &resources.listeners);
  note_start(plan, log);
  Master::block_signals();
  const bool background = successor || plan.core.daemon;
  if (!successor && plan.core.daemon && !become_daemon(log, parent)) return 0;
  if (const int error = write_pid_file(plan.core.pid_file)) {
    log.write(Severity::emerg, "open() \"" + plan.core.pid_file + "\" failed", error);
    if (!successor) remove_socket_files(resources.listeners);
    return 1;
  }
  log.redirect_standard_error();
  log.leave_terminal();
  if (!plan.core.master_process) {
    return run_single(modules, locations, log, std::move(file), std::move(plan),
                      std::move(resources));
  }
  Master master({modules, locations, background, successor, parent}, log, std::move(file),
                std::move(plan), std::move(resources));
  return master.run();
}

// --- weir -t

namespace {

bool open_for_test(const CompiledGeneration& compiled, ProcessLog& log) {
  Plan plan;
  plan.core = compiled.generation->root->get<CoreSettings>();
  plan.events = compiled.generation->root->get<EventSettings>();
  plan.resources = compiled.generation->resources;
  if (const int error = check_pid_file(plan.core.pid_file)) {
    log.write(Severity::emerg, "open() \"" + plan.core.pid_file + "\" failed", error);
    return false;
  }
  OpenOptions options;
  options.test = true;
  OpenedResources resources;
  if (!open_resources(plan, options, log, resources, true)) return false;
  close_sockets(resources.listeners, nullptr);
  return true;
}

}  // namespace

int test_configuration(std::span<const conf::Module* const> modules, const Locations& locations,
                       const TestOptions& options) {
  ProcessLog log(locations.error_log);
  conf::RealWorld world;
  const CompiledGeneration compiled = compile_generation(world, modules, locations, 1);
  const std::string file = locations.conf_file;
  bool told = false;
  const auto tell_syntax = [&] {
    if (!told && compiled.syntax_ok && !options.quiet) {
      print_error("nginx: the configuration file " + file + " syntax is ok\n");
    }
    told = true;
  };
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    if (diagnostic.number > compiled.end_number) tell_syntax();
    log.write(diagnostic.severity, diagnostic_text(compiled, diagnostic));
    if (diagnostic.severity <= conf::Severity::crit) break;
  }
  if (compiled.ok) tell_syntax();
  if (!compiled.ok || !open_for_test(compiled, log)) {
    print_error("nginx: configuration file " + file + " test failed\n");
    if (!compiled.ok) {
      print_error(explained_text(compiled));
    }
    return 1;
  }
  if (!options.quiet) {
    print_error("nginx: configuration file " + file + " test is successful\n");
  }
  if (options.dump) {
    const std::string text = conf::print_dump(*compiled.sources);
    size_t at = 0;
    while (at < text.size()) {
      const ssize_t written = write(STDOUT_FILENO, text.data() + at, text.size() - at);
      if (written <= 0) return 1;
      at += static_cast<size_t>(written);
    }
  }
  return 0;
}

// --- weir -s

namespace {

// The number in the pid file; -1 after saying why there is none.
pid_t read_pid(const std::string& path, ProcessLog& log) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    log.write(Severity::error, "open() \"" + path + "\" failed", errno);
    return -1;
  }
  char buffer[32];
  const ssize_t got = read(descriptor, buffer, sizeof buffer);
  close(descriptor);
  std::string text(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const auto number = conf::parse_number(text);
  if (!number || *number <= 0 || *number > INT32_MAX) {
    log.write(Severity::error, "invalid PID number \"" + text + "\" in \"" + path + "\"");
    return -1;
  }
  return static_cast<pid_t>(*number);
}

int signal_number(const std::string& name) {
  if (name == "stop") return SIGTERM;
  if (name == "quit") return SIGQUIT;
  if (name == "reopen") return SIGUSR1;
  return SIGHUP;
}

}  // namespace

int send_signal(std::span<const conf::Module* const> modules, const Locations& locations,
                const std::string& signal) {
  ProcessLog log(locations.error_log);
  conf::RealWorld world;
  const CompiledGeneration compiled = compile_generation(world, modules, locations, 1);
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    log.write(diagnostic.severity, diagnostic_text(compiled, diagnostic));
    if (diagnostic.severity <= conf::Severity::crit) break;
  }
  if (!compiled.ok) {
    print_error(explained_text(compiled));
    return 1;
  }
  log.write(Severity::notice, "signal process started");
  const std::string pid_file = compiled.generation->root->get<CoreSettings>().pid_file;
  const pid_t pid = read_pid(pid_file, log);
  if (pid < 0) return 1;
  if (signal == "reload") {
    const ControlAnswer answer = ask_reload(pid_file, pid);
    if (answer.answered) {
      print_error(answer.text);
      return answer.accepted ? 0 : 1;
    }
    if (answer.connected) {
      log.write(Severity::error, "the service ended before it told the verdict of the reload");
      return 1;
    }
  }
  const int number = signal_number(signal);
  if (kill(pid, number) != 0) {
    log.write(Severity::alert,
              "kill(" + std::to_string(pid) + ", " + std::to_string(number) + ") failed", errno);
    return 1;
  }
  if (signal == "reload") {
    log.write(Severity::warn,
              "no control socket \"" + pid_file +
                  ".control\": the signal was sent, whether the configuration was accepted is "
                  "not known");
  }
  return 0;
}

}  // namespace weir::process
