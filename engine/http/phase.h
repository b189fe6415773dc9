#pragma once

#include <cstdint>

#include "engine/async/task.h"

namespace weir::http {

class Request;

// nginx's phases, in order. find_config and the post_* steps belong to the engine; handlers may be
// added to the others.
enum class Phase : uint8_t {
  post_read,
  server_rewrite,
  find_config,
  rewrite,
  post_rewrite,
  preaccess,
  access,
  post_access,
  precontent,
  content,
  log,
};
inline constexpr size_t kPhaseCount = 11;

// What a phase handler answers; never an integer with two meanings.
class PhaseResult {
 public:
  enum class Kind : uint8_t {
    next,        // nothing to say: the next handler of this phase
    pass,        // this phase is satisfied (access: allowed): the next phase
    done,        // the response was sent in full, or the exchange was taken over (tunnel)
    status,      // end with this status: error pages, or the status's own page
    redirected,  // the request was redirected internally: phases start again (Request::redirect)
    pending,     // a task goes on; its result counts instead of this one
  };
  static PhaseResult next() { return PhaseResult(Kind::next); }
  static PhaseResult pass() { return PhaseResult(Kind::pass); }
  static PhaseResult done() { return PhaseResult(Kind::done); }
  static PhaseResult redirected() { return PhaseResult(Kind::redirected); }
  static PhaseResult status(int status) { return PhaseResult(Kind::status, status); }
  static PhaseResult pending(Task<PhaseResult> task) {
    PhaseResult result(Kind::pending);
    result.task_ = std::move(task);
    return result;
  }
  Kind kind() const { return kind_; }
  int status_code() const { return status_; }
  Task<PhaseResult> take_task() { return std::move(task_); }

 private:
  explicit PhaseResult(Kind kind, int status = 0) : kind_(kind), status_(status) {}
  Kind kind_;
  int status_ = 0;
  Task<PhaseResult> task_;
};

// Handlers run on the loop's thread. A handler that returns pending() gives a Task made by a named
// coroutine that takes Request& (alive until the task has finished or was destroyed).
using PhaseHandler = PhaseResult (*)(Request&);

}  // namespace weir::http
