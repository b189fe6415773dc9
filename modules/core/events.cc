
#include <algorithm>
#include <string>

#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/process/settings.h"
#include "modules/core/modules.h"

// The events block: ngx_events_module, ngx_event_core_module and ngx_epoll_module.

namespace weir::core {

namespace {

using conf::Compiler;
using conf::Directive;
using conf::Form;
using conf::into;
using conf::kEvents;
using conf::kMain;
using conf::Module;
using conf::Repeat;
using conf::Scope;
using conf::Statement;
using process::EventSettings;

void set_events(Compiler& compiler, Scope& root, const Statement& statement) {
  Scope scope(kEvents, &root);
  compiler.visit(*statement.block, scope);
  EventSettings settings = scope.get<EventSettings>();
  settings.present = true;
  root.write<EventSettings>() = settings;
}

// Every listening socket takes a connection of its own.
void check_connections(Compiler& compiler, const EventSettings& events, int64_t workers) {
  size_t sockets = 0;
  for (const auto& listener : compiler.state<http::ResourceList>().resources.listeners) {
    sockets += listener.options.reuseport ? static_cast<size_t>(std::max<int64_t>(workers, 1)) : 1;
  }
  if (static_cast<size_t>(events.worker_connections) >= sockets + 1) return;
  compiler.late_error(
      compiler.root_block().end_number + 1, 0,
      std::to_string(events.worker_connections) + " worker_connections are not enough for " +
          std::to_string(sockets) + " listening sockets",
      nullptr, "every listening socket takes one, every connection another: 1024 is usual");
}

void complete_events(Compiler& compiler, Scope& root) {
  if (root.get<EventSettings>().present) {
    return check_connections(compiler, root.get<EventSettings>(),
                             root.get<process::CoreSettings>().worker_processes);
  }
  // It may be what is broken.
  if (compiler.failed() && compiler.incomplete()) return;
  compiler.late_error(compiler.root_block().end_number + 1, 0,
                      "no \"events\" section in configuration", nullptr,
                      "an empty one is enough: events { }");
}

void set_worker_connections(Compiler& compiler, Scope& scope, const Statement& statement) {
  const auto number = conf::parse_number(statement.argument(0));
  if (!number) {
    compiler.error(statement,
                   "invalid number \"" + std::string(conf::until_nul(statement.argument(0))) + "\"",
                   {}, &statement.words[1]);
    return;
  }
  scope.write<EventSettings>().worker_connections = *number;
}

void set_use(Compiler& compiler, Scope&, const Statement& statement) {
  if (statement.argument(0) == "epoll") return;
  compiler.error(
      statement,
      "invalid event type \"" + std::string(conf::until_nul(statement.argument(0))) + "\"",
      "epoll is the one there is", &statement.words[1]);
}

void set_debug_connection(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.warn(statement,
                "\"debug_connection\" is ignored, you need to rebuild nginx using --with-debug "
                "option to enable it");
}

constexpr Directive kEventsDirectives[] = {
    {.name = "events",
     .where = kMain,
     .args = {0, 0},
     .form = Form::block,
     .set = set_events,
     .doc = "How connections are handled."},
};

constexpr Directive kEventCoreDirectives[] = {
    {.name = "worker_connections",
     .where = kEvents,
     .args = {1, 1},
     .initial = "512",
     .set = set_worker_connections,
     .doc = "Most connections of a worker, to clients and to upstreams."},
    {.name = "use",
     .where = kEvents,
     .args = {1, 1},
     .set = set_use,
     .doc = "The way to wait for events: epoll."},
    {.name = "multi_accept",
     .where = kEvents,
     .form = Form::flag,
     .initial = "off",
     .set = into<&EventSettings::multi_accept>,
     .doc = "Accepts all waiting connections at once."},
    {.name = "accept_mutex",
     .where = kEvents,
     .form = Form::flag,
     .initial = "off",
     .set = into<&EventSettings::accept_mutex>,
     .doc = "Accepted; the kernel wakes one worker for a new connection."},
    {.name = "accept_mutex_delay",
     .where = kEvents,
     .args = {1, 1},
     .initial = "500ms",
     .set = into<&EventSettings::accept_mutex_delay>,
     .doc = "How long accepting rests when descriptors have run out."},
    {.name = "debug_connection",
     .where = kEvents,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .set = set_debug_connection,
     .doc = "Ignored with a warning: there is no debug log."},
};

constexpr Directive kEpollDirectives[] = {
    {.name = "epoll_events",
     .where = kEvents,
     .args = {1, 1},
     .initial = "512",
     .set = into<&EventSettings::epoll_events>,
     .doc = "Accepted; the size of a batch of events is fixed."},
    {.name = "worker_aio_requests",
     .where = kEvents,
     .args = {1, 1},
     .initial = "32",
     .set = into<&EventSettings::aio_requests>,
     .doc = "Accepted; there is no kernel AIO, files are read by threads."},
};

}  // namespace

const Module kEventsModule = {.name = "ngx_events_module",
                              .directives = kEventsDirectives,
                              .complete = complete_events,
                              .root = kMain};
const Module kEventCoreModule = {
    .name = "ngx_event_core_module", .directives = kEventCoreDirectives, .root = kMain};
const Module kEpollModule = {
    .name = "ngx_epoll_module", .directives = kEpollDirectives, .root = kMain};

}  // namespace weir::core
