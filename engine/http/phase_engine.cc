#include "engine/http/phase_engine.h"

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/error_page.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/uri.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr uint8_t number(Phase phase) {
  return static_cast<uint8_t>(phase);
}

bool method_is_excepted(const LimitExcept& limit, Method method) {
  return (limit.allowed & 1u << static_cast<unsigned>(method)) == 0;
}

template <class L>
const LimitExcept* limit_of(const L& location) {
  if constexpr (requires { location.limit_except; }) return location.limit_except.get();
  return nullptr;
}

// The URI "/x" of a location "/x/": where its clients should have asked.
std::string_view slash_redirect(Request& request, std::string_view name) {
  Arena& arena = request.arena();
  std::string_view path = escape(arena, name, Escape::uri);
  std::string_view args = request.current().args;
  if (args.empty()) return path;
  ArenaText text(arena, path.size() + args.size() + 1);
  text.append(path);
  text.push_back('?');
  text.append(args);
  return text.view();
}

}  // namespace

void PhaseEngine::begin(Request& request) {
  request.position_.phase = number(request.is_main() ? Phase::post_read : Phase::server_rewrite);
  request.position_.handler = 0;
  run(request);
}

void PhaseEngine::refuse(Request& request, int status) {
  if (request.running_) return;
  request.running_ = true;
  Step outcome = end_with(request, status);
  request.running_ = false;
  if (outcome == Step::again) run(request);
}

void PhaseEngine::restart_at_server_rewrite(Request& request) {
  request.position_ = {number(Phase::server_rewrite), 0};
}

void PhaseEngine::restart_at_location_rewrite(Request& request) {
  request.position_ = {number(Phase::rewrite), 0};
}

void PhaseEngine::run_again(Request& request, std::string_view target) {
  request.finished_ = false;
  PhaseResult result =
      target[0] == '@' ? request.redirect_named(target) : request.redirect(target, {});
  if (result.kind() == PhaseResult::Kind::redirected) {
    run(request);
  } else {
    finish(request);
  }
}

void PhaseEngine::resume(void* self) {
  auto& request = *static_cast<Request*>(self);
  if (request.finished_ || request.running_) return;
  if (!request.task_) {
    begin(request);
    return;
  }
  if (!request.task_.finished()) return;
  request.running_ = true;
  Step outcome = apply(request, take_result(request));
  request.running_ = false;
  if (outcome == Step::again) {
    run(request);
  } else {
    request.exchange_->wake();
  }
}

void PhaseEngine::run(Request& request) {
  request.running_ = true;
  while (step(request) == Step::again) {
  }
  request.running_ = false;
  request.exchange_->wake();
}

void PhaseEngine::next_phase(Request& request) {
  ++request.position_.phase;
  request.position_.handler = 0;
}

PhaseEngine::Step PhaseEngine::step(Request& request) {
  switch (static_cast<Phase>(request.position_.phase)) {
    case Phase::find_config:
      return find_location(request);
    case Phase::post_rewrite:
      return after_rewrite(request);
    case Phase::access:
      if (!request.is_main()) {
        request.position_ = {number(Phase::precontent), 0};
        return Step::again;
      }
      return call_handlers(request);
    case Phase::post_access:
      return after_access(request);
    case Phase::content:
      return content(request);
    case Phase::log:
      return finish(request);
    default:
      return call_handlers(request);
  }
}

PhaseEngine::Step PhaseEngine::call_handlers(Request& request) {
  const auto& handlers = request.graph_->hooks.phases[request.position_.phase];
  while (request.position_.handler < handlers.size()) {
    PhaseResult result = handlers[request.position_.handler](request);
    if (result.kind() != PhaseResult::Kind::next) return apply(request, std::move(result));
    ++request.position_.handler;
  }
  next_phase(request);
  return Step::again;
}

PhaseEngine::Step PhaseEngine::apply(Request& request, PhaseResult result) {
  if (result.kind() == PhaseResult::Kind::pending) return wait(request, result.take_task());
  if (static_cast<Phase>(request.position_.phase) == Phase::access) return access(request, result);
  switch (result.kind()) {
    case PhaseResult::Kind::next:
      if (request.position_.phase == number(Phase::content) &&
          request.content_handler_ != nullptr) {
        return end_with(request, 404);  // the location's own handler had nothing to say
      }
      ++request.position_.handler;
      return Step::again;
    case PhaseResult::Kind::pass:
      next_phase(request);
      return Step::again;
    case PhaseResult::Kind::redirected:
      return Step::again;
    case PhaseResult::Kind::done:
      return finish(request);
    case PhaseResult::Kind::status:
      return end_with(request, result.status_code());
    case PhaseResult::Kind::pending:
      break;
  }
  return Step::suspended;
}

PhaseEngine::Step PhaseEngine::wait(Request& request, Task<PhaseResult> task) {
  request.task_ = std::move(task);
  request.task_.start(&PhaseEngine::task_finished, &request);
  if (!request.task_.finished()) return Step::suspended;
  return apply(request, take_result(request));
}

// Ahead of the session's turn, which then finds the request at its end.
void PhaseEngine::task_finished(void* self) {
  auto& request = *static_cast<Request*>(self);
  request.resume_.schedule_first(request.worker_->loop);
}

PhaseResult PhaseEngine::take_result(Request& request) {
  PhaseResult result = request.task_.result();
  request.task_ = Task<PhaseResult>();
  return result;
}

namespace {

bool is_internal(const Location& location) {
  if (location.internal) return true;
  return location.parent != nullptr && is_internal(*location.parent);
}

}  // namespace

PhaseEngine::Step PhaseEngine::find_location(Request& request) {
  request.content_handler_ = nullptr;
  if (request.uri_changed_) request.current_.location_valid = true;
  request.uri_changed_ = false;
  request.scope_ = request.server_->scope.get();
  request.location_ = nullptr;
  LocationTable::Found found = request.server_->locations.find(request.current_.uri, request);
  if (found.location != nullptr) {
    if (!request.current_.internal && is_internal(*found.location)) {
      enter_location(request, *found.location);
      return end_with(request, 404);
    }
    enter_location(request, *found.location);
  } else {
    request.exchange_->apply_location();
  }
  const int64_t limit = body_limit(request);
  const BodyLength& length = request.body_->length();
  if (request.is_main() && limit != 0 && length.kind == BodyLength::Kind::exact &&
      length.bytes > static_cast<uint64_t>(limit) && !request.exchange_->body().is_discarding()) {
    request.log(Severity::error, "client intended to send too large body: " +
                                     std::to_string(length.bytes) + " bytes");
    request.exchange_->body().no_continue();
    request.exchange_->body().discard();
    return end_with(request, 413);
  }
  if (found.auto_redirect) {
    // `location` is the one with the slash where there is no better match for the URI itself.
    ArenaText name(request.arena(), request.current_.uri.size() + 1);
    name.append(request.current_.uri);
    name.push_back('/');
    request.response_.location = slash_redirect(request, name.view());
    return end_with(request, 301);
  }
  next_phase(request);
  return Step::again;
}

void PhaseEngine::enter_location(Request& request, const Location& location) {
  request.location_ = &location;
  request.scope_ = location.scope.get();
  if (location.content_handler != nullptr) request.content_handler_ = location.content_handler;
  const LimitExcept* limit = limit_of(location);
  if (limit != nullptr && method_is_excepted(*limit, request.current_.method)) {
    request.scope_ = limit->scope.get();
    if (limit->content_handler != nullptr) request.content_handler_ = limit->content_handler;
  }
  request.exchange_->apply_location();
}

PhaseEngine::Step PhaseEngine::after_rewrite(Request& request) {
  if (!request.uri_changed_) {
    next_phase(request);
    return Step::again;
  }
  if (--request.uri_changes_left_ == 0) {
    request.log(Severity::error, "rewrite or internal redirection cycle while processing \"" +
                                     std::string(request.current_.uri) + "\"");
    return end_with(request, 500);
  }
  request.position_ = {number(Phase::find_config), 0};
  return Step::again;
}

PhaseEngine::Step PhaseEngine::access(Request& request, PhaseResult& result) {
  const auto& settings = request.settings<CoreSettings>();
  switch (result.kind()) {
    case PhaseResult::Kind::next:
      ++request.position_.handler;
      return Step::again;
    case PhaseResult::Kind::pass:
      if (settings.satisfy == Satisfy::all) {
        ++request.position_.handler;
        return Step::again;
      }
      request.access_status_ = 0;
      request.response_.headers.remove(HeaderId::www_authenticate);
      next_phase(request);
      return Step::again;
    case PhaseResult::Kind::redirected:
      return Step::again;
    case PhaseResult::Kind::done:
      return finish(request);
    default:
      break;
  }
  int status = result.status_code();
  if (settings.satisfy == Satisfy::any && (status == 401 || status == 403)) {
    if (request.access_status_ != 401) request.access_status_ = status;
    ++request.position_.handler;
    return Step::again;
  }
  return refuse_access(request, status);
}

PhaseEngine::Step PhaseEngine::after_access(Request& request) {
  int status = std::exchange(request.access_status_, 0);
  if (status == 0) {
    next_phase(request);
    return Step::again;
  }
  if (status == 403) request.log(Severity::error, "access forbidden by rule");
  return refuse_access(request, status);
}

PhaseEngine::Step PhaseEngine::refuse_access(Request& request, int status) {
  int64_t delay = request.settings<CoreSettings>().auth_delay.value;
  if (status != 401 || delay <= 0) return end_with(request, status);
  // The wait's result must not be taken for another answer of the access phase.
  request.position_ = {number(Phase::post_access), 0};
  return wait(request, delay_refusal(request, static_cast<uint64_t>(delay)));
}

Task<PhaseResult> PhaseEngine::delay_refusal(Request& request, uint64_t milliseconds) {
  Loop& loop = request.worker().loop;
  uint64_t until = loop.now() + milliseconds;
  while (loop.now() < until && !request.client_gone()) {
    const Wait waited = co_await request.event().wait(until - loop.now());
    if (waited == Wait::cancelled) break;
  }
  co_return PhaseResult::status(request.client_gone() ? 499 : 401);
}

PhaseEngine::Step PhaseEngine::content(Request& request) {
  if (request.content_handler_ != nullptr) {
    return apply(request, request.content_handler_(request));
  }
  const auto& handlers = request.graph_->hooks.phases[number(Phase::content)];
  if (request.position_.handler < handlers.size()) {
    return apply(request, handlers[request.position_.handler](request));
  }
  if (request.current_.uri.ends_with('/')) return end_with(request, 403);
  request.log(Severity::error, "no handler found");
  return end_with(request, 404);
}

PhaseEngine::Step PhaseEngine::end_with(Request& request, int status) {
  if (status == 444 || status == 408 || status == 499 || request.exchange_->is_gone()) {
    request.exchange_->terminate(status);
    return finish(request);
  }
  if (request.response_.head_sent) {
    // Too late for another answer: what was sent goes out, and the connection ends.
    if (request.is_main()) request.exchange_->terminate(0);
    return finish(request);
  }
  if (status < 300 && status != 201 && status != 204) {
    request.respond(status, {}, {});
    return finish(request);
  }
  PhaseResult answer = ErrorPages::answer(request, status);
  if (answer.kind() == PhaseResult::Kind::redirected) return Step::again;
  if (answer.kind() == PhaseResult::Kind::status) return end_with(request, answer.status_code());
  return finish(request);
}

PhaseEngine::Step PhaseEngine::finish(Request& request) {
  if (request.replaced_status_ != 0) {
    const int status = std::exchange(request.replaced_status_, 0);
    request.last_sent_ = false;
    const Step outcome = end_with(request, status);
    // nginx takes a failed precondition for an error of the handler.
    if (status == 412) request.exchange_->disable_keep_alive();
    return outcome;
  }
  if (request.upstream_record != nullptr) request.set_activity("sending to client");
  request.finished_ = true;
  request.exchange_->request_finished(request);
  return Step::finished;
}

}  // namespace weir::http
