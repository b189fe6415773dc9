#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "confparse/pattern.h"
#include "confparse/scope.h"
#include "confparse/template.h"
#include "engine/http/phase.h"

// The directives of ngx_http_rewrite_module, compiled in reading order into a program of a server
// or a location; `if` bodies are programs of their own.
namespace weir::http::rewrite {

struct Program;

struct SetStep {
  conf::VariableId variable;
  conf::Template value;
};

struct BreakStep {};

struct ReturnStep {
  int status;
  conf::Template text;  // body, or the address of a redirect
};

struct RewriteStep {
  enum class After : uint8_t { go_on, last, break_, redirect };
  std::shared_ptr<conf::Pattern> pattern;
  conf::Template uri;        // replacement up to '?'
  conf::Template args;       // after it
  bool has_args = false;     // the replacement has a '?'
  bool add_old_args = true;  // no '?' at its end
  After after = After::go_on;
  int redirect_status = 302;
};

struct Condition {
  enum class Test : uint8_t {
    is_true,
    equal,
    not_equal,
    matches,
    matches_not,
    file,
    no_file,
    folder,
    no_folder,
    exists,
    exists_not,
    executable,
    not_executable
  };
  Test test = Test::is_true;
  conf::VariableId variable = conf::kNoVariable;  // left side
  conf::Template operand;                         // right side of = and !=, path of file tests
  std::shared_ptr<conf::Pattern> pattern;
};

struct IfStep {
  Condition condition;
  std::shared_ptr<Program> body;
  // Settings of an `if` in a location, entered when the condition holds; filled by the second
  // visit.
  std::shared_ptr<conf::Scope> scope;
  PhaseHandler content_handler = nullptr;
};

using Step = std::variant<SetStep, BreakStep, ReturnStep, RewriteStep, std::shared_ptr<IfStep>>;

struct Program {
  std::vector<Step> steps;
};

// Where a scope's own program is; `if` bodies are reached through their IfStep.
struct OwnProgram {
  static constexpr bool kSeenByIf = false;
  std::shared_ptr<Program> program;
};

struct RewriteSettings {
  bool log = false;                // rewrite_log
  bool warn_uninitialized = true;  // uninitialized_variable_warn
};

// Runs the program of the request's scope (server_rewrite phase).
PhaseResult run(Request& request);
// The same in the rewrite phase; the server's own does not run again where no location was found.
PhaseResult run_in_location(Request& request);

}  // namespace weir::http::rewrite
