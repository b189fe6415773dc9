#pragma once

#include <sys/signalfd.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "confparse/schema.h"
#include "engine/process/channel.h"
#include "engine/process/control.h"
#include "engine/process/memory_file.h"
#include "engine/process/plan.h"
#include "engine/process/process_log.h"
#include "engine/process/resources.h"

namespace weir::process {

// The privileged process: no loop, no threads. Opens sockets and logs, forks workers, carries
// reloads out, hears signals and the control socket. Its memory does not grow with the
// configuration: helper processes read that.
class Master {
 public:
  struct Start {
    std::span<const conf::Module* const> modules;
    Locations locations;
    bool daemonized = false;
    bool successor = false;  // started by the master that it takes over from
    pid_t parent = 0;        // at the start
  };
  // `plan` is in force, `resources` are opened for it, `log` writes to its targets.
  Master(const Start& start, ProcessLog& log, MemoryFile plan_file, Plan plan,
         OpenedResources resources);
  ~Master();
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  // Signals that the master takes; blocked from before the first fork.
  static void block_signals();

  // Serves until told to stop; returns the exit code. Workers never come back from their fork.
  int run();

 private:
  struct Worker {
    pid_t pid = -1;
    uint32_t slot = 0;
    uint32_t number = 0;  // of all that were ever started
    int channel = -1;
    int inbox = -1;           // what the other workers write to
    int64_t open_files = -1;  // worker_rlimit_nofile that it has
    // What it serves by, or was told to: one that leaves may be behind.
    uint64_t generation = 0;
    std::shared_ptr<const std::vector<std::string>> log_files;
    bool leaving = false;  // told to quit or terminate, or replaced: not forked again
    bool answered = false;
    bool asked = false;     // takes part in the reload under way
    bool replaced = false;  // goes when the reload is over
  };
  // A reload under way: first a helper process compiles, then the workers do.
  struct Reload {
    enum class Phase : uint8_t { reading, preparing, settling } phase = Phase::reading;
    uint64_t number = 0;
    pid_t helper = -1;
    MemoryFile plan_file;
    Plan plan;
    OpenedResources resources;
    bool replace = false;
    bool pid_file_made = false;
    int64_t deadline = 0;   // of the workers' answers; while reading: when to bind() again
    int bind_attempts = 0;  // that failed
    std::string report;     // lines for the control socket
  };
  enum class Stop : uint8_t { no, quit, terminate };

  // master.cc
  void poll_once();
  int poll_timeout() const;
  void read_signals();
  void handle_signal(const signalfd_siginfo& info);
  void reap();
  void worker_gone(Worker worker, int status);
  void stop_workers(Stop how);
  void end_workers(int number);
  void reopen_logs();
  bool finished() const { return stop_ != Stop::no && workers_.empty(); }
  void clean_up();
  bool start_worker(uint32_t slot);
  void start_missing_workers();
  void introduce(const Worker& worker);
  static void close_worker(Worker& worker);
  [[noreturn]] void run_worker(const Worker& self, int channel, int inbox);
  void tell(const Worker& worker, const Message& message, const std::vector<int>& descriptors);
  void quit_worker(Worker& worker);

  // master_upgrade.cc
  bool ignores_upgrade() const;
  void change_binary();
  void new_binary_gone(int status);
  void resume_old_binary();
  bool is_accompanied() const;
  std::string old_pid_file() const { return plan_.core.pid_file + ".oldbin"; }

  // master_reload.cc
  void begin_reload();
  void helper_gone(int status);
  void open_and_ask();
  void bind_failed(bool try_again);
  void ask_worker(Worker& worker);
  void worker_answered(Worker& worker, const Message& message);
  void read_worker(pid_t pid);
  bool all_answered() const;
  void check_reload();
  void commit();
  void settled();
  void place_workers(bool replace);
  void steer(const ListenerSet& before);
  void steer_no_more();
  void drop_reload_everywhere();
  void shutdown_channel(Worker& worker);
  void move_pid_file(const std::string& before);
  void drop_reload();
  void finish_reload(bool accepted);
  void report_problems(const Plan& plan);

  Start start_;
  ProcessLog& log_;
  MemoryFile plan_file_;
  Plan plan_;  // without its bundle
  ListenerSet listeners_;
  ZoneSet zones_;
  std::shared_ptr<const std::vector<std::string>> log_files_;  // of the plan
  ControlSocket control_;
  int signals_ = -1;
  std::vector<Worker> workers_;
  std::unique_ptr<Reload> reload_;
  bool reload_again_ = false;
  pid_t new_binary_ = 0;    // the master that is to take over
  bool steers_ = false;     // sockets of slots that are gone get no new connections
  bool no_accept_ = false;  // WINCH: workers have left and are not forked again
  Stop stop_ = Stop::no;
  int64_t kill_at_ = 0;
  uint64_t next_number_ = 2;
  uint32_t next_worker_ = 1;
  bool fixed_slots_ = false;
};

// Forks a process that makes the plan and writes it to `file`. Its pid, or -errno.
pid_t start_plan_helper(std::span<const conf::Module* const> modules, const Locations& locations,
                        uint64_t number, const MemoryFile& file);

// Monotonic milliseconds.
int64_t monotonic_milliseconds();

}  // namespace weir::process
