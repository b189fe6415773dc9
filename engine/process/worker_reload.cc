#include "engine/process/worker_reload.h"

#include <malloc.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "confparse/worlds.h"

// The worker's part of a reload.

namespace weir::process {

namespace {

// Parsing nested blocks needs a main thread's stack.
constexpr size_t kCompileStack = 8u << 20;
constexpr int kAnswerMilliseconds = 1000;

}  // namespace

WorkerProcess::Reload::~Reload() {
  if (running) pthread_join(thread, nullptr);
  for (const Descriptor& descriptor : descriptors) {
    if (descriptor.descriptor >= 0) close(descriptor.descriptor);
  }
}

void WorkerProcess::channel_ready(void* self, uint32_t) {
  static_cast<WorkerProcess*>(self)->read_channel();
}

void WorkerProcess::read_channel() {
  while (channel_.is_open()) {
    Message message;
    std::vector<int> descriptors;
    switch (receive_message(start_.channel, message, descriptors)) {
      case Received::nothing:
        return;
      case Received::closed:
        // The master is gone. As with nginx its workers go on; signals still reach them.
        channel_.close();
        return;
      case Received::message:
        handle(message, descriptors);
        for (const int descriptor : descriptors) {
          if (descriptor >= 0) close(descriptor);
        }
    }
  }
}

// Takes what it needs out of `descriptors` (sets it to -1).
void WorkerProcess::handle(const Message& message, std::vector<int>& descriptors) {
  switch (message.kind) {
    case Message::Kind::prepare:
      begin_reload(message, descriptors);
      break;
    case Message::Kind::descriptors:
      take_descriptors(message, descriptors);
      break;
    case Message::Kind::commit:
      if (reload_ && reload_->number == message.generation) commit_reload();
      break;
    case Message::Kind::abort:
      // A thread that still compiles is waited for when it has finished, not here.
      if (reload_ && reload_->running) {
        reload_->aborted = true;
      } else {
        drop_reload();
      }
      break;
    case Message::Kind::logs:
      take_logs(message, descriptors);
      break;
    case Message::Kind::worker_gone:
      if (steering_) steering_->remove_worker(static_cast<uint32_t>(message.value));
      break;
    case Message::Kind::worker:
      if (!steering_ || descriptors.empty()) break;
      steering_->add_worker(static_cast<uint32_t>(message.value >> 32),
                            static_cast<uint32_t>(message.value),
                            std::exchange(descriptors[0], -1));
      break;
    default:
      break;
  }
}

void WorkerProcess::begin_reload(const Message& message, std::vector<int>& descriptors) {
  drop_reload();
  if (descriptors.empty()) return;
  reload_ = std::make_unique<Reload>();
  reload_->number = message.generation;
  reload_->plan_file = MemoryFile(std::exchange(descriptors[0], -1));
  reload_->expected = message.value;
  if (reload_->expected == 0) compile_reload();
}

void WorkerProcess::take_descriptors(const Message& message, std::vector<int>& descriptors) {
  if (!reload_ || reload_->number != message.generation || reload_->running) return;
  for (size_t i = 0; i < message.entry_count && i < descriptors.size(); ++i) {
    reload_->descriptors.push_back({message.entries[i], std::exchange(descriptors[i], -1)});
  }
  if (reload_->descriptors.size() >= reload_->expected) compile_reload();
}

namespace {

struct CompileJob {
  MemoryFile* plan_file;
  std::span<const conf::Module* const> modules;
  Ref<Generation>* generation;
  std::vector<std::string>* problems;
  Loop* loop;
  std::function<void()> done;
};

// On the helper thread: touches nothing of the running generation, and no log.
void compile(CompileJob& job) {
  const MemoryMap map(*job.plan_file);
  Plan plan;
  conf::Bundle bundle;
  if (!Plan::decode(map.bytes(), plan) || !conf::Bundle::parse(plan.bundle, bundle)) {
    job.problems->push_back("the plan of the configuration cannot be read");
    return;
  }
  conf::ReplayWorld world(bundle);
  CompiledGeneration compiled = compile_generation(world, job.modules, plan.locations, plan.number);
  if (!world.missing().empty()) {
    job.problems->push_back("compiling in the worker asked for \"" + world.missing() +
                            "\", which the master did not");
    return;
  }
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    if (compiled.ok || diagnostic.severity > conf::Severity::crit) continue;
    job.problems->push_back("compiling in the worker failed: " +
                            diagnostic_text(compiled, diagnostic));
    return;
  }
  *job.generation = std::move(compiled.generation);
}

void* compile_thread(void* argument) {
  const std::unique_ptr<CompileJob> job(static_cast<CompileJob*>(argument));
  try {
    compile(*job);
  } catch (const std::bad_alloc&) {
    job->problems->push_back("no memory for the new configuration");
  }
  job->loop->post_from_thread(std::move(job->done));
  return nullptr;
}

}  // namespace

void WorkerProcess::compile_reload() {
  auto job = std::make_unique<CompileJob>();
  job->plan_file = &reload_->plan_file;
  job->modules = start_.modules;
  job->generation = &reload_->generation;
  job->problems = &reload_->problems;
  job->loop = &loop_;
  job->done = [this, number = reload_->number] {
    if (reload_ && reload_->number == number) reload_compiled();
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kCompileStack);
  const int error = pthread_create(&reload_->thread, &attributes, &compile_thread, job.get());
  pthread_attr_destroy(&attributes);
  if (error != 0) {
    log_.write(Severity::alert, "pthread_create() failed", error);
    answer(Message::Kind::failed, reload_->number);
    drop_reload();
    return;
  }
  reload_->running = true;
  static_cast<void>(job.release());  // the thread's
}

void WorkerProcess::reload_compiled() {
  pthread_join(reload_->thread, nullptr);
  reload_->running = false;
  reload_->plan_file.close();
  const uint64_t number = reload_->number;
  if (reload_->aborted) {
    drop_reload();
    return;
  }
  if (reload_->generation && !attach_reloaded_zones()) {
    reload_->problems.push_back("a shared memory zone cannot be mapped");
    reload_->generation = {};
  }
  if (reload_->generation) {
    answer(Message::Kind::ready, number);
    return;
  }
  for (const std::string& problem : reload_->problems) log_.write(Severity::alert, problem);
  drop_reload();
  answer(Message::Kind::failed, number);
}

// Before the answer: after the commit there is no way back.
bool WorkerProcess::attach_reloaded_zones() {
  ZoneSet zones(reload_->generation->zones.size());
  for (const Reload::Descriptor& arrived : reload_->descriptors) {
    if (arrived.entry.kind != Message::Entry::Kind::zone || arrived.entry.index >= zones.size()) {
      continue;
    }
    zones[arrived.entry.index].descriptor = arrived.descriptor;
    zones[arrived.entry.index].is_new = true;
  }
  return attach_zones(*reload_->generation, zones);
}

void WorkerProcess::commit_reload() {
  if (reload_->running || !reload_->generation) return;
  const std::unique_ptr<Reload> reload = std::move(reload_);
  const Resources& resources = reload->generation->resources;
  ListenerSet listeners;
  std::vector<bool> kept(resources.listeners.size(), true);
  listeners.sockets.resize(resources.listeners.size());
  for (Reload::Descriptor& arrived : reload->descriptors) {
    const uint32_t index = arrived.entry.index;
    if (arrived.entry.kind == Message::Entry::Kind::listener) {
      if (index >= listeners.sockets.size()) continue;
      listeners.sockets[index].descriptors = {std::exchange(arrived.descriptor, -1)};
      kept[index] = false;
    } else if (arrived.entry.kind == Message::Entry::Kind::log &&
               index < resources.log_files.size()) {
      log_.table().put(resources.log_files[index], std::exchange(arrived.descriptor, -1));
    }
  }
  if (worker_.draining) {
    // On the way out: what is under way ends by the settings it began with.
    for (ListeningSockets& sockets : listeners.sockets) {
      for (const int descriptor : sockets.descriptors) close(descriptor);
    }
    return;
  }
  take_generation(std::move(reload->generation), listeners, kept);
  tell_in_force();
}

void WorkerProcess::drop_reload() {
  if (!reload_) return;
  reload_.reset();
  malloc_trim(0);
}

void WorkerProcess::take_logs(const Message& message, std::vector<int>& descriptors) {
  // On the way out it did not take the one that the master speaks of.
  if (message.generation != worker_.generation->number) return;
  const Resources& resources = worker_.generation->resources;
  if (message.value == 0) {
    log_.write(Severity::notice, "reopening logs");
    close_logs_unused(false);
  }
  for (size_t i = 0; i < message.entry_count && i < descriptors.size(); ++i) {
    if (message.entries[i].index >= resources.log_files.size()) continue;
    log_.table().put(resources.log_files[message.entries[i].index],
                     std::exchange(descriptors[i], -1));
  }
  log_.redirect_standard_error();
}

// Files that only earlier configurations logged to; those that some still do are kept, but not when
// logs are reopened: the master does not open them again.
void WorkerProcess::close_logs_unused(bool keep_earlier) {
  std::vector<std::string> used = worker_.generation->resources.log_files;
  for (const LogUse& earlier : log_uses_) {
    if (keep_earlier) used.insert(used.end(), earlier.files.begin(), earlier.files.end());
  }
  std::vector<std::string> unused;
  log_.table().for_each([&](const std::string& path, int) {
    if (std::find(used.begin(), used.end(), path) == used.end()) unused.push_back(path);
  });
  for (const std::string& path : unused) log_.table().close(path);
}

void WorkerProcess::tell_in_force() {
  answer(Message::Kind::in_force, worker_.generation->number);
}

void WorkerProcess::answer(Message::Kind kind, uint64_t generation) {
  Message message;
  message.kind = kind;
  message.generation = generation;
  send_message_patiently(start_.channel, message, {}, kAnswerMilliseconds);
}

}  // namespace weir::process
