#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/event/timer.h"

namespace weir {

class Socket;

// A worker's event loop: one thread. Sockets are registered once, edge-triggered, in an epoll set
// of our own; libuv's loop (signals, thread pool, file work, name resolution, child processes) is
// embedded through its backend descriptor, which is a member of the same set. So a socket costs no
// epoll_ctl in the steady state and no uv handle. (docs/decisions/0001-event-loop.md)
//
// Everything here is called on the loop's thread unless it says otherwise.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;

  // Runs until stop(). Each round: ready coroutines, posted functions, timers, socket events,
  // libuv.
  void run();
  // One round, waiting at most `milliseconds` (tests).
  void run_once(uint64_t milliseconds);
  void stop();

  // Monotonic milliseconds, refreshed once a round.
  uint64_t now() const { return now_; }
  // Wall clock of this round: seconds and milliseconds. Cached texts are in engine/log/clock.h.
  int64_t wall_milliseconds() const { return wall_; }

  // Resumes `handle` from the top level, in this round, after the current callback has returned.
  void schedule(std::coroutine_handle<> handle);
  // Runs `function` from the top level. post() from this thread only; post_from_thread() from any.
  void post(std::function<void()> function);
  void post_from_thread(std::function<void()> function);

  // Blocking work on libuv's thread pool; `done` runs on the loop's thread.
  void work(std::function<void()> blocking, std::function<void()> done);
  // POSIX signal on the loop (SIGTERM, SIGHUP, SIGCHLD, …).
  void on_signal(int number, std::function<void()> handler);

 private:
  friend class Socket;
  friend class Timer;
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
  uint64_t now_ = 0;
  int64_t wall_ = 0;
};

}  // namespace weir
