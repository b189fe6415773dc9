#include "engine/process/worker_process.h"

#include <malloc.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "confparse/worlds.h"
#include "engine/http/graph.h"
#include "engine/http/tunnel.h"
#include "engine/net/passed_connection.h"
#include "engine/process/title.h"
#include "engine/process/worker_reload.h"
#include "engine/stream/datagrams.h"
#include "engine/stream/graph.h"
#include "engine/zone/zone.h"

namespace weir::process {

namespace {

constexpr uint64_t kReuseMilliseconds = 1000;  // between two warnings
constexpr uint64_t kDrainTickMilliseconds = 20;
constexpr uint64_t kHandOverMilliseconds = 1000;  // for handshakes with clients
constexpr uint64_t kTrimMilliseconds = 1000;
constexpr uint64_t kUnwindMilliseconds = 1000;  // for requests whose connection was taken away

}  // namespace

Ref<Generation> compile_plan(const Plan& plan, std::span<const conf::Module* const> modules,
                             ProcessLog& log) {
  conf::Bundle bundle;
  if (!conf::Bundle::parse(plan.bundle, bundle)) {
    log.write(Severity::alert, "the recorded configuration cannot be read");
    return {};
  }
  conf::ReplayWorld world(bundle);
  CompiledGeneration compiled = compile_generation(world, modules, plan.locations, plan.number);
  if (!world.missing().empty()) {
    log.write(Severity::alert, "compiling in the worker asked for \"" + world.missing() +
                                   "\", which the master did not");
    return {};
  }
  if (!compiled.ok) {
    for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
      if (diagnostic.severity > conf::Severity::crit) continue;
      log.write(Severity::alert,
                "compiling in the worker failed: " + diagnostic_text(compiled, diagnostic));
      break;
    }
    return {};
  }
  return std::move(compiled.generation);
}

// One listening socket of this worker.
struct WorkerProcess::Listening {
  Listening(WorkerProcess& process, const net::ListenOptions& wanted)
      : owner(process),
        options(wanted),
        acceptor(&WorkerProcess::accepted, &WorkerProcess::accept_failed, this) {}
  ~Listening() { close(); }
  void close() {
    acceptor.close();
    if (datagrams) datagrams->close();
    datagrams = {};
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }

  WorkerProcess& owner;
  net::ListenOptions options;
  size_t index = 0;  // in the current generation's Resources::listeners
  bool is_http = true;
  int descriptor = -1;
  net::Acceptor acceptor;
  Ref<stream::DatagramListener> datagrams;  // instead of the acceptor
};

WorkerProcess::WorkerProcess(const WorkerStart& start)
    : start_(start),
      log_(*start.log),
      sinks_(&loop_, log_.table()),
      worker_{loop_, log_.table(), log_.log(), upstreams_},
      upstreams_(worker_),
      channel_(&WorkerProcess::channel_ready, this),
      drain_timer_(&WorkerProcess::drain_tick, this),
      shutdown_timer_(&WorkerProcess::shutdown_time, this),
      hand_over_timer_(&WorkerProcess::hand_over_time, this),
      trim_timer_(&WorkerProcess::trim_time, this),
      idle_memory_(loop_, worker_.connections),
      logs_released_(&WorkerProcess::logs_released, this) {
  worker_.slot = start.slot;
  worker_.access_sinks = &sinks_;
}

WorkerProcess::~WorkerProcess() {
  ending_ = true;
  channel_.close();
  drop_reload();
  listening_.clear();
  stream_sessions_.reset();
  steering_.reset();
  sessions_.reset();
  http::close_tunnels();
}

bool WorkerProcess::prepare() {
  const MemoryMap map(*start_.plan);
  Plan plan;
  if (!Plan::decode(map.bytes(), plan)) {
    log_.write(Severity::alert, "the plan of the configuration cannot be read");
    return false;
  }
  worker_.generation = compile_plan(plan, start_.modules, log_);
  if (!worker_.generation) return false;
  if (start_.zones && !attach_zones(*worker_.generation, *start_.zones)) {
    log_.write(Severity::alert, "a shared memory zone cannot be mapped");
    return false;
  }
  use_logs(*worker_.generation);
  follow_names();
  sessions_ = std::make_unique<http::Sessions>(worker_);
  stream_sessions_ = std::make_unique<stream::Sessions>(worker_);
  worker_.make_room = [this] { make_room(); };
  worker_.pass_connection = [this](const auto& listening, const auto& take) {
    return pass_connection(listening, take);
  };
  if (start_.inbox >= 0) {
    steering_ = std::make_unique<stream::Steering>(worker_);
    steering_->open(start_.number, start_.inbox);
    for (const WorkerStart::Other& other : start_.others) {
      steering_->expect_worker(other.number, other.slot, other.descriptor);
    }
  }
  apply_settings();
  apply_slots();
  const auto& wanted = worker_.generation->resources.listeners;
  const auto& opened = start_.listeners->sockets;
  for (size_t i = 0; i < wanted.size() && i < opened.size(); ++i) {
    listen_on(wanted[i], i, opened[i].of(start_.slot));
  }
  malloc_trim(0);
  return true;
}

int WorkerProcess::run() {
  loop_.on_signal(SIGTERM, [this] { terminate(); });
  loop_.on_signal(SIGINT, [this] { terminate(); });
  loop_.on_signal(SIGQUIT, [this] { quit(); });
  loop_.on_signal(SIGUSR1, [this] { reopen_logs(); });
  // They were blocked since before the fork: none is lost.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  if (start_.channel >= 0) {
    channel_.open(loop_, start_.channel, EPOLLIN);
    read_channel();
  }
  loop_.run();
  // A signal that comes now has nobody to hear it, and must not end the process in its own way.
  sigprocmask(SIG_BLOCK, &all, nullptr);
  sinks_.flush_all();
  log_.write(Severity::notice, "exit");
  return 0;
}

// --- accepting

void WorkerProcess::listen_on(const ListenRequest& request, size_t index, int descriptor) {
  auto listening = std::make_unique<Listening>(*this, request.options);
  listening->index = index;
  listening->is_http = request.is_http;
  listening->descriptor = descriptor;
  if (request.options.type == SOCK_DGRAM) {
    listening->datagrams = make_ref<stream::DatagramListener>(*stream_sessions_, steering_.get(),
                                                              request.options, index);
    if (const int error = listening->datagrams->open(descriptor)) {
      log_.write(Severity::alert, "watching " + request.options.address.text() + " failed", error);
    }
    listening_.push_back(std::move(listening));
    return;
  }
  const auto& events = worker_.generation->root->get<EventSettings>();
  net::Acceptor::Options options;
  options.shared = start_.worker_count > 1 && !request.options.reuseport;
  options.multi_accept = events.multi_accept;
  options.retry_milliseconds = static_cast<uint64_t>(events.accept_mutex_delay.value);
  if (const int error = listening->acceptor.open(loop_, descriptor, options)) {
    log_.write(Severity::alert, "watching " + request.options.address.text() + " failed", error);
  }
  listening_.push_back(std::move(listening));
}

void WorkerProcess::accepted(void* self, int descriptor, const net::Address& peer) {
  auto* listening = static_cast<Listening*>(self);
  WorkerProcess& process = listening->owner;
  if (!process.worker_.has_room()) {
    process.log_.write(Severity::alert, std::to_string(process.worker_.connection_limit) +
                                            " worker_connections are not enough");
    close(descriptor);
    return;
  }
  process.idle_memory_.watch();
  if (listening->is_http) {
    process.sessions_->accept(descriptor, peer, listening->index);
  } else {
    process.stream_sessions_->accept(descriptor, peer, listening->index);
  }
}

void WorkerProcess::accept_failed(void* self, int error) {
  Severity severity = Severity::alert;
  if (error == ECONNABORTED) severity = Severity::error;
  if (error == EMFILE || error == ENFILE) severity = Severity::crit;
  static_cast<Listening*>(self)->owner.log_.write(severity, "accept4() failed", error);
}

// As nginx: a wildcard takes every address of its kind.
bool WorkerProcess::pass_connection(const net::Address& listening,
                                    const std::function<net::PassedConnection()>& take) {
  const auto& listeners = worker_.generation->resources.listeners;
  for (size_t i = 0; i < listeners.size(); ++i) {
    const net::Address& address = listeners[i].options.address;
    if (listeners[i].options.type != SOCK_STREAM) continue;
    const bool fits = address.is_wildcard() ? address.family() == listening.family() &&
                                                  address.port() == listening.port()
                                            : address == listening;
    if (!fits) continue;
    net::PassedConnection connection = take();
    if (listeners[i].is_http) {
      sessions_->accept(connection, i);
    } else {
      stream_sessions_->accept(connection, i);
    }
    return true;
  }
  return false;
}

void WorkerProcess::make_room() {
  const uint64_t now = loop_.now();
  const bool told = reused_at_ != 0 && now - reused_at_ < kReuseMilliseconds;
  if (sessions_->close_some_idle() == 0 || told) return;
  reused_at_ = now;
  log_.write(Severity::warn, std::to_string(worker_.connection_limit) +
                                 " worker_connections are not enough, reusing connections");
}

// --- generations

void WorkerProcess::apply_settings() {
  const conf::Scope& root = *worker_.generation->root;
  const int64_t limit = root.get<EventSettings>().worker_connections;
  worker_.connection_limit =
      static_cast<uint32_t>(std::clamp<int64_t>(limit, 1, std::numeric_limits<uint32_t>::max()));
  log_.use(root.get<CoreSettings>().error_log);
}

// After the listeners are known: which sessions stay is seen by who asks for them.
void WorkerProcess::apply_slots() {
  if (!steering_ || !start_.fixed_slots) return;
  const int64_t slots = worker_.generation->root->get<CoreSettings>().worker_processes;
  steering_->set_slots(static_cast<uint32_t>(std::max<int64_t>(slots, 1)));
}

bool WorkerProcess::leaves_slot() const {
  const int64_t slots = worker_.generation->root->get<CoreSettings>().worker_processes;
  return steering_ && start_.slot >= std::max<int64_t>(slots, 1);
}

void WorkerProcess::follow_names() {
  upstreams_.log = [this](Severity severity, const std::string& text) {
    log_.write(severity, text);
  };
  const Generation& generation = *worker_.generation;
  std::vector<const upstream::Cluster*> clusters;
  if (generation.http) {
    for (const auto& cluster : generation.http->clusters) clusters.push_back(cluster.get());
  }
  if (generation.stream) {
    for (const auto& cluster : generation.stream->clusters) clusters.push_back(cluster.get());
  }
  upstreams_.follow(clusters);
  upstreams_.check(worker_.generation, clusters);
}

bool WorkerProcess::attach_zones(Generation& generation, const ZoneSet& zones) {
  for (size_t i = 0; i < generation.zones.size(); ++i) {
    zone::Zone& zone = *generation.zones[i];
    std::shared_ptr<zone::Mapping> mapping;
    // The one that is mapped already, so that a kept zone has one mapping whatever the generation.
    for (const auto& present : worker_.generation ? worker_.generation->zones : generation.zones) {
      if (present->request == zone.request) mapping = present->mapping();
    }
    const int descriptor = i < zones.size() ? zones[i].descriptor : -1;
    if (!mapping || (descriptor >= 0 && zones[i].is_new)) {
      mapping = zone::Mapping::open(descriptor, zone.request.size);
    }
    if (!mapping) return false;
    mapping->on_emptied = [this](std::string_view name, uint32_t process) {
      log_.write(Severity::alert, "shared memory zone \"" + std::string(name) +
                                      "\" was locked by " + std::to_string(process) +
                                      ", it is emptied");
    };
    zone.attach(std::move(mapping));
  }
  return true;
}

void WorkerProcess::swap_generation(Ref<Generation> generation) {
  use_logs(*generation);
  Ref<Generation> before = std::exchange(worker_.generation, std::move(generation));
  follow_names();
  apply_settings();
  sessions_->generation_changed(*before);
  stream_sessions_->generation_changed();
  if (before->log_use) log_uses_.push_back({before->log_use, before->resources.log_files});
}

// Log files that only earlier configurations wrote to are closed when the last request and tunnel
// of those that name them is over.
void WorkerProcess::use_logs(Generation& generation) {
  generation.log_use = std::shared_ptr<const void>(this, [](const void* self) {
    auto& process = *static_cast<WorkerProcess*>(const_cast<void*>(self));
    if (!process.ending_) process.logs_released_.schedule(process.loop_);
  });
}

void WorkerProcess::logs_released(void* self) {
  auto& process = *static_cast<WorkerProcess*>(self);
  std::erase_if(process.log_uses_, [](const LogUse& earlier) { return earlier.use.expired(); });
  process.close_logs_unused(true);
}

void WorkerProcess::take_generation(Ref<Generation> generation, const ListenerSet& listeners,
                                    const std::vector<bool>& kept) {
  std::vector<std::unique_ptr<Listening>> before = std::move(listening_);
  listening_.clear();
  swap_generation(std::move(generation));
  const auto& wanted = worker_.generation->resources.listeners;
  for (size_t i = 0; i < wanted.size() && i < listeners.sockets.size(); ++i) {
    const auto old = std::find_if(before.begin(), before.end(), [&](const auto& candidate) {
      return candidate && same_listener(candidate->options, wanted[i].options);
    });
    if (old != before.end() && kept[i]) {
      (*old)->index = i;
      if ((*old)->datagrams) (*old)->datagrams->set_resource(i);
      (*old)->is_http = wanted[i].is_http;
      (*old)->options = wanted[i].options;
      listening_.push_back(std::move(*old));
    } else {
      if (old != before.end()) (*old).reset();
      listen_on(wanted[i], i, listeners.sockets[i].of(start_.slot));
    }
  }
  before.clear();
  apply_slots();
  // What the old generation and the compiling used goes back to the kernel, now and when requests
  // that held on to it have had time to end.
  malloc_trim(0);
  trim_timer_.arm(loop_, kTrimMilliseconds);
}

void WorkerProcess::trim_time(void*) {
  malloc_trim(0);
}

void WorkerProcess::reopen_logs() {
  log_.write(Severity::notice, "reopening logs");
  if (const int error = log_.table().reopen_all()) {
    log_.write(Severity::emerg, "open() of a log file failed", error);
  }
  log_.redirect_standard_error();
}

// --- the end

void WorkerProcess::terminate() {
  log_.write(Severity::notice, "exiting");
  http::close_tunnels();
  loop_.stop();
}

void WorkerProcess::quit() {
  if (worker_.draining) {
    // Told again: the service ends, and no datagram will come any more.
    listening_.clear();
    stream_sessions_->drain();
    return;
  }
  worker_.draining = true;
  log_.write(Severity::notice, "gracefully shutting down");
  set_title("nginx: worker process is shutting down");
  const bool keeps_datagrams = leaves_slot();
  std::erase_if(listening_, [&](const auto& listening) {
    if (listening->datagrams) return !keeps_datagrams;
    return !is_surplus() || !listening->options.reuseport;
  });
  for (const auto& listening : listening_) {
    if (listening->datagrams) {
      listening->datagrams->stop_receiving();
    } else {
      hand_over_timer_.arm(loop_, kHandOverMilliseconds);
    }
  }
  const int64_t limit = worker_.generation->root->get<CoreSettings>().shutdown_timeout.value;
  if (limit > 0) shutdown_timer_.arm(loop_, static_cast<uint64_t>(limit));
  sessions_->drain();
  if (!keeps_datagrams) stream_sessions_->drain();
  drain_tick(this);
}

// A slot that the configuration has no more: nobody else accepts on its sockets.
bool WorkerProcess::is_surplus() const {
  return start_.slot >= worker_.generation->root->get<CoreSettings>().worker_processes;
}

// New connections went elsewhere for a while (Master::steer); handshakes that were under way have
// ended by now.
void WorkerProcess::hand_over_time(void* self) {
  auto& process = *static_cast<WorkerProcess*>(self);
  std::erase_if(process.listening_, [](const auto& listening) {
    if (!listening->datagrams) listening->acceptor.accept_rest();
    return !listening->datagrams;
  });
}

void WorkerProcess::drain_tick(void* self) {
  auto& process = *static_cast<WorkerProcess*>(self);
  process.upstreams_.close_idle();
  if (process.steering_) process.steering_->read_inbox();
  if (!process.hand_over_timer_.armed() && process.worker_.connections == 0 &&
      process.sessions_->count() == 0 && process.stream_sessions_->count() == 0) {
    process.log_.write(Severity::notice, "exiting");
    process.loop_.stop();
    return;
  }
  process.drain_timer_.arm(process.loop_, kDrainTickMilliseconds);
}

void WorkerProcess::shutdown_time(void* self) {
  auto& process = *static_cast<WorkerProcess*>(self);
  http::close_tunnels();
  if (!process.gave_up_) {
    process.gave_up_ = true;
    process.sessions_->give_up_all();
    process.shutdown_timer_.arm(process.loop_, kUnwindMilliseconds);
    return;
  }
  process.sessions_->close_all();
  process.stream_sessions_->close_all();
  process.log_.write(Severity::notice, "exiting");
  process.loop_.stop();
}

}  // namespace weir::process
