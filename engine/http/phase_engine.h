#pragma once

#include "engine/http/phase.h"
#include "engine/http/request.h"

namespace weir::http {

// Walks a request through the phases (nginx's order and rules), waits for what is pending, and
// turns results into answers. Everything is called on the loop's thread; handlers run from the top
// level or from inside a handler's own task only through resume().
class PhaseEngine {
 public:
  // Begins a main request whose server is known, or a subrequest (from its server's rewrites).
  static void begin(Request& request);
  // The head was refused: answers with the status as the default server does.
  static void refuse(Request& request, int status);
  // Deferred: a task has finished, or a subrequest starts. `self` is the Request.
  static void resume(void* self);
  // Where an internal redirect, or one to a named location, goes on.
  static void restart_at_server_rewrite(Request& request);
  static void restart_at_location_rewrite(Request& request);
  // The location, or its limit_except where the method asks for that, serves the request from now.
  static void enter_location(Request& request, const Location& location);
  // post_action: a finished main request goes through another location for its effects.
  static void run_again(Request& request, std::string_view target);

 private:
  enum class Step : uint8_t { again, suspended, finished };
  static void run(Request& request);
  static Step step(Request& request);
  static Step apply(Request& request, PhaseResult result);
  static Step end_with(Request& request, int status);
  static Step finish(Request& request);
  static Step call_handlers(Request& request);
  static Step find_location(Request& request);
  static Step after_rewrite(Request& request);
  static Step access(Request& request, PhaseResult& result);
  static Step after_access(Request& request);
  static Step content(Request& request);
  static Step wait(Request& request, Task<PhaseResult> task);
  static void task_finished(void* self);
  static PhaseResult take_result(Request& request);
  static Task<PhaseResult> delay_refusal(Request& request, uint64_t milliseconds);
  static Step refuse_access(Request& request, int status);
  static void next_phase(Request& request);
};

}  // namespace weir::http
