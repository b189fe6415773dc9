#include <algorithm>
#include <string>
#include <vector>

#include "confparse/compiler.h"
#include "engine/process/settings.h"
#include "modules/core/modules.h"
#include "modules/core/thread_pool_uses.h"

// ngx_thread_pool_module: pools are checked, and those that directives of others name must be
// there.

namespace weir::core {

namespace {

using conf::Compiler;
using conf::Directive;
using conf::kMain;
using conf::Module;
using conf::quoted;
using conf::Repeat;
using conf::Scope;
using conf::Statement;
using conf::until_nul;
using process::CoreSettings;

void set_thread_pool(Compiler& compiler, Scope& scope, const Statement& statement) {
  process::ThreadPool pool;
  pool.name = statement.argument(0);
  std::vector<process::ThreadPool> pools = scope.get<CoreSettings>().thread_pools;
  for (const process::ThreadPool& other : pools) {
    if (other.name != pool.name) continue;
    compiler.error(statement, "duplicate thread pool " + quoted(until_nul(pool.name)), {},
                   &statement.words[1]);
    return;
  }
  bool threads_given = false;
  for (size_t i = 1; i < statement.argument_count(); ++i) {
    const std::string_view word = statement.argument(i);
    const bool threads = word.starts_with("threads=");
    if (!threads && !word.starts_with("max_queue=")) continue;  // nginx passes over others
    const auto number = conf::parse_number(word.substr(word.find('=') + 1));
    if (!number || (threads && *number == 0)) {
      compiler.error(statement,
                     std::string("invalid ") + (threads ? "threads" : "max_queue") + " value " +
                         quoted(until_nul(word)),
                     {}, &statement.words[i + 1]);
      return;
    }
    (threads ? pool.threads : pool.max_queue) = *number;
    threads_given = threads_given || threads;
  }
  if (!threads_given) {
    compiler.error(statement, "\"thread_pool\" must have \"threads\" parameter");
    return;
  }
  pools.push_back(std::move(pool));
  scope.write<CoreSettings>().thread_pools = std::move(pools);
}

void complete_thread_pools(Compiler& compiler, Scope& root) {
  const auto& pools = root.get<CoreSettings>().thread_pools;
  for (const ThreadPoolUses::Use& use : compiler.state<ThreadPoolUses>().uses) {
    const bool known = use.name == "default" ||
                       std::any_of(pools.begin(), pools.end(),
                                   [&](const auto& pool) { return pool.name == use.name; });
    if (known) continue;
    compiler.late_error(compiler.root_block().end_number + 1, 2,
                        "unknown thread pool " + quoted(until_nul(use.name)), use.at,
                        "thread_pool defines one, anywhere in the main context");
  }
}

constexpr Directive kThreadPoolDirectives[] = {
    {.name = "thread_pool",
     .where = kMain,
     .args = {2, 3},
     .repeat = Repeat::collect,
     .set = set_thread_pool,
     .doc = "Accepted; files are read by the threads of the loop."},
};

}  // namespace

const Module kThreadPoolModule = {.name = "ngx_thread_pool_module",
                                  .directives = kThreadPoolDirectives,
                                  .complete = complete_thread_pools,
                                  .root = kMain};

}  // namespace weir::core
