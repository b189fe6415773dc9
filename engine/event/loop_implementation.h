#pragma once

#include <sys/epoll.h>
#include <uv.h>

#include <coroutine>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/event/deferred.h"
#include "engine/event/foldable.h"
#include "engine/event/loop.h"
#include "engine/event/timer_wheel.h"

namespace weir {

// The inside of Loop, shared by the files of engine/event only.
struct Loop::Implementation {
  static constexpr int kBatch = 512;
  // Passes over the ready calls before sockets get their turn again: calls that keep queueing each
  // other must not starve them.
  static constexpr int kReadyPasses = 16;
  static constexpr int64_t kWallRefresh = 100;

  struct Signal {
    uv_signal_t handle;
    int number;
    std::shared_ptr<std::function<void()>> handler;
  };
  struct Work {
    uv_work_t request;
    Implementation* loop;
    std::function<void()> blocking;
    std::function<void()> done;
  };

  explicit Implementation(Loop& owner);
  ~Implementation();

  void round(int64_t limit);
  // Runs what is ready; true when something is left for the next round.
  bool run_ready();
  // What waits for the end of the round, and what that makes ready.
  bool run_late();
  int wait_time(int64_t limit);
  void dispatch(size_t index);
  void dispatch_socket(size_t index, Socket& socket, uint32_t events);
  void run_later();
  void run_uv();
  void read_clock();

  // The event of the batch under way at `place` (from 1) names something that is gone.
  void forget(uint32_t place) { batch[place - 1].data.u64 = 0; }
  void forget_later(Socket* socket);

  Loop& owner;
  int epoll = -1;
  uv_loop_t uv;
  uv_async_t wake;
  TimerWheel wheel;
  FoldWatch folds;
  DeferredQueue deferred;
  DeferredQueue late;
  std::vector<std::coroutine_handle<>> handles;
  std::vector<std::function<void()>> posted;
  std::vector<Socket*> later;       // asked for read_later in this round
  std::vector<Socket*> later_turn;  // being served
  std::vector<std::unique_ptr<Signal>> signals;
  std::mutex mutex;
  std::vector<std::function<void()>> from_threads;  // under mutex
  epoll_event batch[kBatch];
  int64_t wall_offset = 0;
  uint64_t wall_read = 0;
  bool uv_ready = false;
  bool stopped = false;
  bool running = false;
  bool closing = false;
};

}  // namespace weir
