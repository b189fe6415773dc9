#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "confparse/schema.h"
#include "engine/event/deferred.h"
#include "engine/event/loop.h"
#include "engine/event/timer.h"
#include "engine/event/watcher.h"
#include "engine/http/session.h"
#include "engine/log/access_sink.h"
#include "engine/process/channel.h"
#include "engine/process/compile_generation.h"
#include "engine/process/idle_memory.h"
#include "engine/process/memory_file.h"
#include "engine/process/plan.h"
#include "engine/process/process_log.h"
#include "engine/process/resources.h"
#include "engine/stream/sessions.h"
#include "engine/stream/steering.h"
#include "engine/upstream/runtime.h"
#include "engine/worker.h"

namespace weir::process {

// What a worker starts with. Descriptors stay open in it; `log` is the copy that came with the
// fork.
struct WorkerStart {
  // The way to another worker.
  struct Other {
    uint32_t number;
    uint32_t slot;
    int descriptor;
  };
  std::span<const conf::Module* const> modules;
  ProcessLog* log = nullptr;
  uint32_t slot = 0;
  uint32_t worker_count = 1;
  int channel = -1;  // to the master; -1: this process has none (master_process off)
  const MemoryFile* plan = nullptr;
  const ListenerSet* listeners = nullptr;
  const ZoneSet* zones = nullptr;
  // Of the workers that the master has ever started; what it reads from and writes to others by.
  uint32_t number = 0;
  int inbox = -1;
  std::vector<Other> others;
  bool fixed_slots = false;  // clients of datagrams come to the slot that net::datagram_slot() says
};

// A process that serves: its loop, listening sockets, connections; and the worker's part of a
// reload: it compiles the plan on a helper thread, answers ready or failed, and swaps generations
// when the master says commit. Made after the fork, when privileges are gone.
class WorkerProcess {
 public:
  explicit WorkerProcess(const WorkerStart& start);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  // Compiles the plan it starts with; false after logging why it cannot.
  bool prepare();
  // Tells the master which generation this worker serves with.
  void tell_in_force();
  // Serves until it is told to stop; returns the exit code.
  int run();

  // --- what signals and the master ask for; for the single process too ---
  void quit();       // serves what is under way, then stops
  void terminate();  // stops now
  void reopen_logs();
  bool is_quitting() const { return worker_.draining; }
  void take_generation(Ref<Generation> generation, const ListenerSet& listeners,
                       const std::vector<bool>& kept);
  // Maps the zones of `generation` before it is in force: `zones` in the order of
  // Resources::zones; those without a descriptor are the current generation's. Descriptors stay
  // the caller's. False: one cannot be mapped.
  bool attach_zones(Generation& generation, const ZoneSet& zones);
  Loop& loop() { return loop_; }
  const Generation& generation() const { return *worker_.generation; }

 private:
  struct Listening;
  struct Reload;

  static void accepted(void* self, int descriptor, const net::Address& peer);
  static void accept_failed(void* self, int error);
  static void channel_ready(void* self, uint32_t events);
  static void drain_tick(void* self);
  static void shutdown_time(void* self);
  static void trim_time(void* self);

  static void hand_over_time(void* self);
  bool is_surplus() const;
  void listen_on(const ListenRequest& request, size_t index, int descriptor);
  void make_room();
  bool pass_connection(const net::Address& listening,
                       const std::function<net::PassedConnection()>& take);
  void read_channel();
  void handle(const Message& message, std::vector<int>& descriptors);
  void begin_reload(const Message& message, std::vector<int>& descriptors);
  void take_descriptors(const Message& message, std::vector<int>& descriptors);
  void compile_reload();
  void reload_compiled();
  bool attach_reloaded_zones();
  void commit_reload();
  void drop_reload();
  void take_logs(const Message& message, std::vector<int>& descriptors);
  void answer(Message::Kind kind, uint64_t generation);
  void swap_generation(Ref<Generation> generation);
  void apply_settings();
  void follow_names();
  void apply_slots();
  // Told to go because there are fewer workers now: datagrams of its sessions go on.
  bool leaves_slot() const;
  void use_logs(Generation& generation);
  static void logs_released(void* self);
  void close_logs_unused(bool keep_earlier);

  WorkerStart start_;
  ProcessLog& log_;
  Loop loop_;
  AccessSinks sinks_;
  Worker worker_;
  upstream::Runtime upstreams_;
  std::unique_ptr<http::Sessions> sessions_;
  std::unique_ptr<stream::Steering> steering_;  // null: there are no other workers
  std::unique_ptr<stream::Sessions> stream_sessions_;
  std::vector<std::unique_ptr<Listening>> listening_;
  std::unique_ptr<Reload> reload_;
  Watcher channel_;
  Timer drain_timer_;
  Timer shutdown_timer_;
  Timer hand_over_timer_;
  Timer trim_timer_;
  IdleMemory idle_memory_;
  Deferred logs_released_;
  // The log files of an earlier generation, and who still writes to them.
  struct LogUse {
    std::weak_ptr<const void> use;
    std::vector<std::string> files;
  };
  std::vector<LogUse> log_uses_;
  bool ending_ = false;
  bool gave_up_ = false;    // worker_shutdown_timeout is over
  uint64_t reused_at_ = 0;  // when idle connections were ended for new ones
};

// Compiles a plan from its bundle; null (and a line in the log) when that fails.
Ref<Generation> compile_plan(const Plan& plan, std::span<const conf::Module* const> modules,
                             ProcessLog& log);

}  // namespace weir::process
