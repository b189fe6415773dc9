#include <unistd.h>

#include <algorithm>
#include <set>
#include <string>

#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "engine/process/build_info.h"
#include "engine/process/settings.h"
#include "modules/all.h"
#include "modules/core/error_log.h"
#include "modules/core/modules.h"

// Directives of ngx_core_module and ngx_regex_module.

namespace weir::core {

namespace {

using conf::Compiler;
using conf::Directive;
using conf::Form;
using conf::into;
using conf::kMain;
using conf::Merge;
using conf::Module;
using conf::quoted;
using conf::Repeat;
using conf::Scope;
using conf::Statement;
using conf::until_nul;
using conf::Word;
using process::CoreSettings;
using process::ProcessorMask;

void set_worker_processes(Compiler& compiler, Scope& scope, const Statement& statement) {
  const std::string_view text = statement.argument(0);
  int64_t count = 1;
  if (text == "auto") {
    count = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  } else if (const auto number = conf::parse_number(text)) {
    count = *number;
  } else {
    compiler.error(statement, "\"worker_processes\" directive invalid value",
                   "a number of processes, or \"auto\" for one a processor", &statement.words[1]);
    return;
  }
  scope.write<CoreSettings>().worker_processes = count;
}

// An empty name leaves the default.
void set_path(Compiler& compiler, Scope& scope, const Statement& statement,
              std::string CoreSettings::* member) {
  if (statement.argument(0).empty()) return;
  scope.write<CoreSettings>().*member = compiler.full_path(statement.argument(0));
}

void set_pid(Compiler& compiler, Scope& scope, const Statement& statement) {
  set_path(compiler, scope, statement, &CoreSettings::pid_file);
}

void set_lock_file(Compiler& compiler, Scope& scope, const Statement& statement) {
  set_path(compiler, scope, statement, &CoreSettings::lock_file);
}

void set_user(Compiler& compiler, Scope& scope, const Statement& statement) {
  if (geteuid() != 0) {
    compiler.warn(statement,
                  "the \"user\" directive makes sense only if the master process runs with "
                  "super-user privileges, ignored");
    return;
  }
  CoreSettings& settings = scope.write<CoreSettings>();
  const std::string user(statement.argument(0));
  const auto identity = compiler.world().user(user);
  if (!identity.ok()) {
    compiler.error(statement, "getpwnam(" + quoted(until_nul(user)) + ") failed",
                   "there is no such user on this system", &statement.words[1]);
    return;
  }
  settings.user_name = user;
  settings.user = identity.value.user;
  settings.user_known = true;
  // Without a second word the group has the name of the user.
  const std::string group(statement.argument(statement.argument_count() - 1));
  const auto answer = compiler.world().group(group);
  if (!answer.ok()) {
    compiler.error(statement, "getgrnam(" + quoted(until_nul(group)) + ") failed",
                   "there is no such group on this system",
                   &statement.words[statement.argument_count()]);
    return;
  }
  settings.group = answer.value;
}

void set_error_log(Compiler& compiler, Scope& scope, const Statement& statement) {
  ErrorLogTargets targets = scope.get<CoreSettings>().error_log;
  if (read_error_log(compiler, statement, targets)) {
    scope.write<CoreSettings>().error_log = std::move(targets);
  }
}

void set_priority(Compiler& compiler, Scope& scope, const Statement& statement) {
  if (scope.get<CoreSettings>().priority != 0) {
    compiler.duplicate(statement);
    return;
  }
  std::string_view text = statement.argument(0);
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  const auto number = conf::parse_number(text);
  if (!number) {
    compiler.error(statement, "\"worker_priority\" directive invalid number",
                   "from -20 (first) to 20 (last)", &statement.words[1]);
    return;
  }
  const int value = static_cast<int>(std::min<int64_t>(*number, 1000));
  scope.write<CoreSettings>().priority = minus ? -value : value;
}

// The last character is processor 0.
bool read_mask(Compiler& compiler, const Statement& statement, const Word& word,
               ProcessorMask& mask) {
  if (word.text.size() > process::kMostProcessors) {
    compiler.error(statement, "\"worker_cpu_affinity\" supports up to 1024 CPUs only", {}, &word);
    return false;
  }
  size_t processor = 0;
  for (size_t i = word.text.size(); i-- > 0;) {
    const char c = word.text[i];
    if (c == ' ') continue;
    if (c != '0' && c != '1') {
      compiler.error(
          statement, "invalid character \"" + std::string(1, c) + "\" in \"worker_cpu_affinity\"",
          "a mask has a 1 for each processor that may be used, the first on the right", &word);
      return false;
    }
    mask[processor++] = c == '1';
  }
  return true;
}

void set_affinity(Compiler& compiler, Scope& scope, const Statement& statement) {
  CoreSettings& settings = scope.write<CoreSettings>();
  size_t first = 1;
  if (statement.argument(0) == "auto") {
    if (statement.argument_count() > 2) {
      compiler.error(statement, "invalid number of arguments in \"worker_cpu_affinity\" directive",
                     "after \"auto\" may come one mask", &statement.words[3]);
      return;
    }
    settings.affinity_auto = true;
    first = 2;
    // nginx's order: reading a mask from the right, processors above it are allowed too when there
    // is none.
    if (statement.argument_count() == 1) {
      ProcessorMask all;
      all.set();
      settings.affinity.push_back(all);
    }
  }
  for (size_t i = first; i <= statement.argument_count(); ++i) {
    ProcessorMask mask;
    if (!read_mask(compiler, statement, statement.words[i], mask)) return;
    settings.affinity.push_back(mask);
  }
}

void set_env(Compiler&, Scope& scope, const Statement& statement) {
  scope.write<CoreSettings>().environment.emplace_back(statement.argument(0));
}

void set_debug_points(Compiler& compiler, Scope&, const Statement& statement) {
  const std::string_view value = statement.argument(0);
  if (conf::equal_without_case(value, "stop") || conf::equal_without_case(value, "abort")) return;
  compiler.invalid_value(statement, statement.words[1], "it must be \"stop\" or \"abort\"");
}

class LoadedModules final : public conf::CompilerState {
 public:
  std::set<std::string> names;
};

// By a module's own name, or by that of the file which holds it (and its like) in packages.
bool built_in(std::string_view name) {
  if (name == "ngx_stream_module") name = "ngx_stream_core_module";
  const auto modules = all_modules();
  return std::any_of(modules.begin(), modules.end(),
                     [&](const Module* module) { return module->name == name; });
}

bool after_a_block(const Compiler& compiler, const Statement& statement) {
  for (const Statement& other : compiler.root_block().statements) {
    if (other.number >= statement.number) return false;
    if (other.block) return true;
  }
  return false;
}

// weir loads no code. A module whose directives it has built in needs no loading; for another one
// the answer is nginx's when a module cannot be loaded, since its directives would not work.
void load_module(Compiler& compiler, Scope&, const Statement& statement) {
  const std::string path = compiler.full_path(statement.argument(0));
  if (after_a_block(compiler, statement)) {
    compiler.error(statement, "\"load_module\" directive is specified too late",
                   "modules come before the first block");
    return;
  }
  std::string name = path.substr(path.rfind('/') + 1);
  if (name.ends_with(".so")) name.resize(name.size() - 3);
  if (!compiler.state<LoadedModules>().names.insert(name).second) {
    compiler.error(statement, "module \"" + name + "\" is already loaded", {}, &statement.words[1]);
    return;
  }
  if (built_in(name)) return;
  const auto exists = compiler.world().is_directory(path);
  std::string reason = path + ": ";
  if (!exists.ok()) {
    reason += "cannot open shared object file: No such file or directory";
  } else {
    reason += "this module is not part of weir";
  }
  compiler.error(statement, "dlopen() " + quoted(until_nul(path)) + " failed (" + reason + ")",
                 "weir has its modules built in and loads none", &statement.words[1]);
}

void finish_core(Compiler& compiler, Scope& self, const Scope*) {
  CoreSettings& settings = self.write<CoreSettings>();
  const uint32_t after_end = compiler.root_block().end_number + 1;
  if (settings.pid_file.empty()) {
    settings.pid_file = compiler.full_path(process::BuildPaths::pid_path());
  }
  if (settings.lock_file.empty()) {
    settings.lock_file = compiler.full_path(process::BuildPaths::lock_path());
  }
  const size_t masks = settings.affinity.size();
  if (!settings.affinity_auto && masks > 1 &&
      masks != static_cast<size_t>(settings.worker_processes)) {
    compiler.late_error(after_end, 1,
                        "the number of \"worker_processes\" is not equal to the number of "
                        "\"worker_cpu_affinity\" masks, using last mask for remaining worker "
                        "processes",
                        nullptr, {}, conf::Severity::warn);
  }
  if (settings.user_known || geteuid() != 0) return;
  const std::string user = process::BuildPaths::user();
  const auto identity = compiler.world().user(user);
  const auto group = compiler.world().group(process::BuildPaths::group());
  if (!identity.ok()) {
    compiler.late_error(after_end, 1, "getpwnam(" + quoted(until_nul(user)) + ") failed", nullptr,
                        "there is no such user: name one with \"user NAME;\"");
    return;
  }
  settings.user_name = user;
  settings.user = identity.value.user;
  settings.group = group.ok() ? group.value : identity.value.group;
  settings.user_known = true;
}

constexpr Directive kCoreDirectives[] = {
    {.name = "daemon",
     .where = kMain,
     .form = Form::flag,
     .initial = "on",
     .set = into<&CoreSettings::daemon>,
     .doc = "Goes to the background after the start."},
    {.name = "master_process",
     .where = kMain,
     .form = Form::flag,
     .initial = "on",
     .set = into<&CoreSettings::master_process>,
     .doc = "A master and workers; off: one process does everything."},
    {.name = "timer_resolution",
     .where = kMain,
     .args = {1, 1},
     .set = into<&CoreSettings::timer_resolution>,
     .doc = "Accepted; the clock is read once a round of the event loop."},
    {.name = "pid",
     .where = kMain,
     .args = {1, 1},
     .set = set_pid,
     .doc = "The file with the number of the master process."},
    {.name = "lock_file",
     .where = kMain,
     .args = {1, 1},
     .set = set_lock_file,
     .doc = "Accepted; locks live in shared memory."},
    {.name = "worker_processes",
     .where = kMain,
     .args = {1, 1},
     .initial = "1",
     .set = set_worker_processes,
     .doc = "Number of workers; auto: one a processor."},
    {.name = "debug_points",
     .where = kMain,
     .args = {1, 1},
     .set = set_debug_points,
     .doc = "Accepted; there are none."},
    {.name = "user",
     .where = kMain,
     .args = {1, 2},
     .set = set_user,
     .doc = "User and group of the workers."},
    {.name = "worker_priority",
     .where = kMain,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .set = set_priority,
     .doc = "Scheduling priority of the workers, as nice does."},
    {.name = "worker_cpu_affinity",
     .where = kMain,
     .args = {1, conf::kNoLimit},
     .set = set_affinity,
     .doc = "Processors that each worker may use."},
    {.name = "worker_rlimit_nofile",
     .where = kMain,
     .args = {1, 1},
     .set = into<&CoreSettings::open_files>,
     .doc = "Limit of open files of a worker."},
    {.name = "worker_rlimit_core",
     .where = kMain,
     .args = {1, 1},
     .set = into<&CoreSettings::core_size>,
     .doc = "Limit of the core file of a worker."},
    {.name = "worker_shutdown_timeout",
     .where = kMain,
     .args = {1, 1},
     .set = into<&CoreSettings::shutdown_timeout>,
     .doc = "How long a worker that goes waits for its connections."},
    {.name = "working_directory",
     .where = kMain,
     .args = {1, 1},
     .set = into<&CoreSettings::working_directory>,
     .doc = "Current folder of the workers."},
    {.name = "env",
     .where = kMain,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .set = set_env,
     .doc = "Environment variables that workers keep or get."},
    {.name = "load_module",
     .where = kMain,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .set = load_module,
     .doc = "Accepted for modules that are built in."},
    {.name = "error_log",
     .where = kMain,
     .args = {1, conf::kNoLimit},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = set_error_log,
     .doc = "Where problems are logged, and from which level on."},
};

constexpr Directive kRegexDirectives[] = {
    {.name = "pcre_jit",
     .where = kMain,
     .form = Form::flag,
     .initial = "off",
     .set =
         [](Compiler& compiler, Scope& scope, const Statement& statement) {
           into<&CoreSettings::pcre_jit>(compiler, scope, statement);
           compiler.set_pcre_jit(scope.get<CoreSettings>().pcre_jit);
         },
     .doc = "Compiles regular expressions to machine code."},
};

}  // namespace

const Module kCoreModule = {
    .name = "ngx_core_module", .directives = kCoreDirectives, .finish = finish_core, .root = kMain};
const Module kRegexModule = {
    .name = "ngx_regex_module", .directives = kRegexDirectives, .root = kMain};

}  // namespace weir::core
