#include "engine/process/single.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <new>
#include <utility>

#include "confparse/worlds.h"
#include "engine/event/timer.h"
#include "engine/process/control.h"
#include "engine/process/title.h"
#include "engine/process/worker_process.h"

namespace weir::process {

namespace {

constexpr size_t kCompileStack = 8u << 20;

// The one process: a worker that is its own master.
class Single {
 public:
  Single(std::span<const conf::Module* const> modules, const Locations& locations, ProcessLog& log,
         MemoryFile plan_file, const Plan& plan, OpenedResources resources)
      : modules_(modules),
        locations_(locations),
        log_(log),
        plan_file_(std::move(plan_file)),
        pid_file_(plan.core.pid_file),
        listeners_(std::move(resources.listeners)),
        zones_(std::move(resources.zones)),
        process_(start()),
        control_watcher_(&Single::control_ready, this) {}

  int run() {
    set_title("nginx: master process " + std::string(command_words()));
    if (!process_.prepare()) return 2;
    plan_file_.close();
    process_.loop().on_signal(SIGHUP, [this] { reload(); });
    process_.loop().on_signal(SIGUSR2, [] {});
    process_.loop().on_signal(SIGWINCH, [] {});
    open_control();
    const int code = process_.run();
    if (compiling_) pthread_join(thread_, nullptr);
    control_watcher_.close();
    control_.remove();
    if (unlink(pid_file_.c_str()) != 0) {
      log_.write(Severity::alert, "unlink() \"" + pid_file_ + "\" failed", errno);
    }
    remove_socket_files(listeners_);
    return code;
  }

 private:
  WorkerStart start() {
    WorkerStart start;
    start.modules = modules_;
    start.log = &log_;
    start.plan = &plan_file_;
    start.listeners = &listeners_;
    start.zones = &zones_;
    return start;
  }

  void open_control() {
    if (const int error = control_.open(pid_file_)) {
      log_.write(Severity::warn, "no control socket \"" + pid_file_ + ".control\"", error);
      return;
    }
    control_watcher_.open(process_.loop(), control_.descriptor(), EPOLLIN);
  }

  // The request comes with the connection: a client that dawdles is dropped.
  static void control_ready(void* self, uint32_t) {
    auto& single = *static_cast<Single*>(self);
    single.control_.accept_client();
    bool asked = false;
    for (const int client : std::vector<int>(single.control_.clients())) {
      asked = single.control_.wait_and_read_client(client) || asked;
    }
    if (asked) single.reload();
  }

  void reload() {
    if (process_.is_quitting()) {
      control_.answer(false, "nginx: [notice] the service stops\n");
      return;
    }
    if (reloading_) {
      again_ = true;
      return;
    }
    log_.write(Severity::notice, "reconfiguring");
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kCompileStack);
    const int error = pthread_create(&thread_, &attributes, &Single::compile, this);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
      log_.write(Severity::alert, "pthread_create() failed", error);
      control_.answer(false, "nginx: [alert] pthread_create() failed\n");
      return;
    }
    compiling_ = reloading_ = true;
  }

  static void* compile(void* self) {
    auto& single = *static_cast<Single*>(self);
    conf::RealWorld world;
    try {
      single.compiled_ =
          compile_generation(world, single.modules_, single.locations_, single.next_number_++);
    } catch (const std::bad_alloc&) {
      // The running configuration stays, as for any other reason. (Without sources.)
    }
    single.process_.loop().post_from_thread([&single] { single.compiled(); });
    return nullptr;
  }

  void compiled() {
    pthread_join(thread_, nullptr);
    compiling_ = false;
    log_.capture(&report_);
    if (!compiled_.sources) log_.write(Severity::emerg, "no memory for the new configuration");
    for (const conf::Diagnostic& diagnostic : compiled_.diagnostics) {
      log_.write(diagnostic.severity, diagnostic_text(compiled_, diagnostic));
      if (diagnostic.severity <= conf::Severity::crit) break;
    }
    log_.capture(nullptr);
    if (compiled_.ok) {
      try_to_use();
    } else {
      if (compiled_.sources) report_ += explained_text(compiled_);
      finish_reload(false);
    }
  }

  static void try_again(void* self) { static_cast<Single*>(self)->try_to_use(); }

  void try_to_use() {
    if (process_.is_quitting()) {
      // The sockets that it would go on with are closed.
      report_ += "nginx: [notice] the service stops\n";
      finish_reload(false);
      return;
    }
    bool again = false;
    log_.capture(&report_);
    const bool accepted = use(compiled_, again);
    again = again && ++bind_attempts_ < kBindAttempts;
    if (bind_attempts_ == kBindAttempts) tell_bind_failed(log_);
    log_.capture(nullptr);
    if (again) {
      bind_timer_.arm(process_.loop(), kBindPauseMilliseconds);
    } else {
      finish_reload(accepted);
    }
  }

  void finish_reload(bool accepted) {
    reloading_ = false;
    bind_attempts_ = 0;
    control_.answer(accepted, std::exchange(report_, {}));
    compiled_ = {};
    malloc_trim(0);
    if (std::exchange(again_, false)) reload();
  }

  // `again`: an address is in use.
  bool use(CompiledGeneration& compiled, bool& again) {
    Plan plan;
    plan.core = compiled.generation->root->get<CoreSettings>();
    plan.resources = compiled.generation->resources;
    OpenOptions options;
    options.before = &listeners_;
    options.zones_before = &zones_;
    options.wait = false;
    OpenedResources opened;
    if (!open_resources(plan, options, log_, opened, false)) {
      again = opened.try_again;
      return false;
    }
    if (!process_.attach_zones(*compiled.generation, opened.zones)) {
      log_.write(Severity::alert, "a shared memory zone cannot be mapped");
      close_sockets(opened.listeners, &listeners_);
      abandon(opened, log_);
      return false;
    }
    if (plan.core.pid_file != pid_file_ && !move_pid_file(plan.core.pid_file)) {
      close_sockets(opened.listeners, &listeners_);
      abandon(opened, log_);
      return false;
    }
    ZoneSet zones_before = std::move(zones_);
    zones_ = std::move(opened.zones);
    close_unused_zones(zones_before, zones_);
    // The worker part owns the descriptors that it accepts on; the table here only remembers them.
    forget_closed(opened.listeners);
    process_.take_generation(std::move(compiled.generation), opened.listeners, opened.kept);
    listeners_ = std::move(opened.listeners);
    log_.redirect_standard_error();
    return true;
  }

  // Listeners that go: their sockets are closed by the worker part, their files here.
  void forget_closed(const ListenerSet& after) {
    for (ListeningSockets& sockets : listeners_.sockets) {
      if (after.find(sockets.options)) continue;
      ListenerSet gone;
      gone.sockets.push_back(sockets);
      remove_socket_files(gone);
    }
  }

  bool move_pid_file(const std::string& path) {
    if (const int error = write_pid_file(path)) {
      log_.write(Severity::emerg, "open() \"" + path + "\" failed", error);
      return false;
    }
    unlink(pid_file_.c_str());
    pid_file_ = path;
    control_watcher_.close();
    if (control_.move(path) == 0) {
      control_watcher_.open(process_.loop(), control_.descriptor(), EPOLLIN);
    }
    return true;
  }

  std::span<const conf::Module* const> modules_;
  Locations locations_;
  ProcessLog& log_;
  MemoryFile plan_file_;
  std::string pid_file_;
  ListenerSet listeners_;
  ZoneSet zones_;
  WorkerProcess process_;
  ControlSocket control_;
  Watcher control_watcher_;
  pthread_t thread_{};
  Timer bind_timer_{&Single::try_again, this};
  int bind_attempts_ = 0;   // that failed
  bool compiling_ = false;  // the thread is there
  bool reloading_ = false;
  bool again_ = false;
  uint64_t next_number_ = 2;
  CompiledGeneration compiled_;
  std::string report_;  // what the one who asked for the reload is told
};

}  // namespace

int run_single(std::span<const conf::Module* const> modules, const Locations& locations,
               ProcessLog& log, MemoryFile plan_file, const Plan& plan, OpenedResources resources) {
  Single single(modules, locations, log, std::move(plan_file), plan, std::move(resources));
  return single.run();
}

}  // namespace weir::process
