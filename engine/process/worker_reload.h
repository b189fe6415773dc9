#pragma once

#include <pthread.h>

#include <memory>
#include <vector>

#include "engine/process/worker_process.h"

namespace weir::process {

// A configuration that the master prepares: its plan, the descriptors that came with it, and the
// thread that compiles it.
struct WorkerProcess::Reload {
  uint64_t number = 0;
  MemoryFile plan_file;
  size_t expected = 0;  // descriptors to come in all
  size_t arrived = 0;
  struct Descriptor {
    Message::Entry entry;
    int descriptor = -1;
  };
  std::vector<Descriptor> descriptors;

  pthread_t thread{};
  bool running = false;
  bool aborted = false;
  // Written by the thread, read after it was joined.
  Ref<Generation> generation;
  std::vector<std::string> problems;

  ~Reload();
};

}  // namespace weir::process
