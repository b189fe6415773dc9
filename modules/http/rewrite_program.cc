#include "modules/http/rewrite_program.h"

#include <sys/stat.h>

#include <cerrno>

#include "engine/http/files.h"
#include "engine/http/request.h"
#include "engine/http/uri.h"

namespace weir::http::rewrite {

namespace {

// What running one step leads to.
enum class Next : uint8_t { step, stop, result };

struct Outcome {
  Next next = Next::step;
  PhaseResult result = PhaseResult::next();
};

// Evaluates a replacement. Captured text is escaped in the args, and in redirects, when the
// request's URI came with escapes: what was decoded must not become syntax.
std::string_view evaluate(const conf::Template& value, Request& request, bool escape_captures) {
  request.escape_captures = escape_captures;
  const std::string_view text = value.evaluate(request);
  request.escape_captures = false;
  return text;
}

bool test_file(Request& request, Condition::Test test, const std::string& path) {
  using Test = Condition::Test;
  const FoundFile file = find_file(request, {path, 0});
  const struct stat& info = file.info;
  const bool found = file.error == 0;
  if (!found && file.error != ENOENT && file.error != ENOTDIR && file.error != ENAMETOOLONG) {
    request.log(Severity::crit, std::string(file.call) + " \"" + path + "\" failed", file.error);
  }
  switch (test) {
    case Test::file:
      return found && S_ISREG(info.st_mode);
    case Test::no_file:
      return !(found && S_ISREG(info.st_mode));
    case Test::folder:
      return found && S_ISDIR(info.st_mode);
    case Test::no_folder:
      return !(found && S_ISDIR(info.st_mode));
    case Test::exists:
      return found;
    case Test::exists_not:
      return !found;
    case Test::executable:
      return found && (info.st_mode & S_IXUSR) != 0;
    default:
      return !(found && (info.st_mode & S_IXUSR) != 0);
  }
}

// Matches, and says so where `rewrite_log` is on. One that fails leaves no $1 of an earlier match.
bool match(Request& request, const conf::Pattern& pattern, std::string_view subject) {
  const bool matched = request.match(pattern, subject);
  if (!matched) request.forget_captures();
  if (request.settings<RewriteSettings>().log) {
    request.log(Severity::notice, "\"" + pattern.regex->pattern() +
                                      (matched ? "\" matches \"" : "\" does not match \"") +
                                      std::string(subject) + "\"");
  }
  return matched;
}

bool holds(const Condition& condition, Request& request) {
  using Test = Condition::Test;
  if (condition.variable == conf::kNoVariable) {
    const std::string path(condition.operand.evaluate(request));
    return test_file(request, condition.test, path);
  }
  const std::string_view value = request.variable(condition.variable).text;
  switch (condition.test) {
    case Test::is_true:
      return !value.empty() && value != "0";
    case Test::equal:
      return value == condition.operand.evaluate(request);
    case Test::not_equal:
      return value != condition.operand.evaluate(request);
    case Test::matches:
      return match(request, *condition.pattern, value);
    default:
      return !match(request, *condition.pattern, value);
  }
}

Outcome answer(const ReturnStep& step, Request& request) {
  const bool redirect = step.status == 301 || step.status == 302 || step.status == 303 ||
                        step.status == 307 || step.status == 308;
  if (step.status >= 400 && step.text.empty())
    return {Next::result, PhaseResult::status(step.status)};
  if (request.is_main()) {
    request.body().discard();
    // A body that is known to be none is answered instead.
    if (const int error = request.body().error()) return {Next::result, PhaseResult::status(error)};
  }
  request.response().status = step.status;  // the text may speak of it
  if (redirect) {
    return {Next::result, request.redirect_client(step.status, step.text.evaluate(request))};
  }
  return {Next::result,
          request.respond(step.status, content_type_of(request), step.text.evaluate(request))};
}

Outcome redirect(const RewriteStep& step, Request& request, bool escape) {
  ArenaText address(request.arena(), 256);
  address.append(evaluate(step.uri, request, escape));
  const std::string_view uri = unescape_redirect(request.arena(), address.view());
  ArenaText whole(request.arena(), uri.size() + 64);
  whole.append(uri);
  if (step.has_args) {
    whole.push_back('?');
    whole.append(evaluate(step.args, request, request.current().escape_needed));
  }
  const std::string_view old = request.current().args;
  if (step.add_old_args && !old.empty()) {
    whole.push_back(step.has_args ? '&' : '?');
    whole.append(old);
  }
  if (request.settings<RewriteSettings>().log) {
    request.log(Severity::notice, "rewritten redirect: \"" + std::string(whole.view()) + "\"");
  }
  return {Next::result, request.redirect_client(step.redirect_status, whole.view())};
}

Outcome rewrite(const RewriteStep& step, Request& request) {
  const std::string_view uri = request.current().uri;
  if (!match(request, *step.pattern, uri)) return {};
  request.current().location_valid = false;
  const bool escape = request.current().escape_needed;
  if (step.after == RewriteStep::After::redirect) return redirect(step, request, escape);

  std::string_view target = step.uri.evaluate(request);
  std::string_view args = request.current().args;
  if (step.has_args) {
    ArenaText joined(request.arena(), 64 + args.size());
    joined.append(evaluate(step.args, request, escape));
    if (step.add_old_args && !args.empty()) {
      joined.push_back('&');
      joined.append(args);
    }
    args = joined.view();
  } else if (!step.add_old_args) {
    args = "";
  }
  if (request.settings<RewriteSettings>().log) {
    request.log(Severity::notice, "rewritten data: \"" + std::string(target) + "\", args: \"" +
                                      std::string(args) + "\"");
  }
  if (target.empty()) {
    request.log(Severity::error, "the rewritten URI has a zero length");
    return {Next::result, PhaseResult::status(500)};
  }
  request.current().args = args;
  const bool search_again = step.after != RewriteStep::After::break_;
  request.rewrite_uri(target, search_again);
  if (step.after == RewriteStep::After::go_on) return {};
  return {Next::stop};
}

Outcome execute(const Program& program, Request& request);

Outcome execute(const Step& step, Request& request) {
  if (const auto* set = std::get_if<SetStep>(&step)) {
    request.set_variable(set->variable, conf::Value::of(set->value.evaluate(request)));
    return {};
  }
  if (const auto* answered = std::get_if<ReturnStep>(&step)) return answer(*answered, request);
  if (const auto* rewritten = std::get_if<RewriteStep>(&step)) return rewrite(*rewritten, request);
  if (std::holds_alternative<BreakStep>(step)) {
    request.keep_location();
    return {Next::stop};
  }
  const auto& conditional = *std::get<std::shared_ptr<IfStep>>(step);
  if (!holds(conditional.condition, request)) return {};
  if (conditional.scope && conditional.scope->context() == conf::kIfInLocation) {
    request.enter_scope(*conditional.scope);
    if (conditional.content_handler) request.set_content_handler(conditional.content_handler);
  }
  return execute(*conditional.body, request);
}

Outcome execute(const Program& program, Request& request) {
  for (const Step& step : program.steps) {
    Outcome outcome = execute(step, request);
    if (outcome.next != Next::step) return outcome;
  }
  return {};
}

}  // namespace

PhaseResult run(Request& request) {
  const OwnProgram* own = request.own_settings<OwnProgram>();
  if (!own || !own->program) return PhaseResult::next();
  // The scope may change while the program runs (`if`); the program belongs to the one it began
  // with.
  Outcome outcome = execute(*own->program, request);
  if (outcome.next == Next::result) return std::move(outcome.result);
  return PhaseResult::next();
}

PhaseResult run_in_location(Request& request) {
  return request.location() == nullptr ? PhaseResult::next() : run(request);
}

}  // namespace weir::http::rewrite
