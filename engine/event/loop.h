#pragma once

#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace weir {

class Deferred;
class Socket;
class Timer;
class Watcher;

// A worker's event loop: one thread. Sockets are registered once, edge-triggered, in an epoll set
// of our own; libuv's loop (signals, thread pool, file work, name resolution, child processes) is
// embedded through its backend descriptor, which is a member of the same set. So a socket costs no
// epoll_ctl in the steady state and no uv handle. (docs/decisions/0001-event-loop.md)
//
// Made after the fork, in the process that runs it; ignores SIGPIPE there. Everything here is
// called on the loop's thread unless it says otherwise. Sockets and watchers are gone before the
// Loop; timers, events and deferred calls may stay (they never fire then).
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). Each round: socket events, sockets that asked for read_later, libuv, timers;
  // ready coroutines and deferred and posted calls after each callback of those.
  void run();
  // One round, waiting at most `milliseconds`, and not at all when calls were ready (tests).
  void run_once(uint64_t milliseconds);
  // Ends run() after the current round.
  void stop();

  // Monotonic milliseconds, refreshed once a round.
  uint64_t now() const { return now_; }
  // Wall clock of this round in milliseconds. Cached texts are in engine/log/clock.h.
  int64_t wall_milliseconds() const { return wall_; }
  // Reads the clock again: after something that took long, before a deadline is computed from it.
  void update_clock();

  // Resumes `handle` from the top level, in this round, after the current callback has returned.
  // The frame must live until then; what may go away earlier uses Event or Deferred, which unqueue.
  void schedule(std::coroutine_handle<> handle);
  // Runs `function` from the top level. post() from this thread only; post_from_thread() from any.
  void post(std::function<void()> function);
  void post_from_thread(std::function<void()> function);

  // Blocking work on libuv's thread pool; `done` runs on the loop's thread (never after ~Loop
  // began, which waits for the blocking part).
  void work(std::function<void()> blocking, std::function<void()> done);
  // POSIX signal on the loop (SIGTERM, SIGHUP, SIGCHLD, …). A second call for a number replaces the
  // handler; an empty function gives the signal its default back.
  void on_signal(int number, std::function<void()> handler);

 private:
  friend class Deferred;
  friend class Socket;
  friend class Timer;
  friend class Watcher;
  struct Implementation;
  uint64_t now_ = 0;
  int64_t wall_ = 0;
  std::unique_ptr<Implementation> implementation_;  // last: it sets the clock
};

}  // namespace weir
