#pragma once

#include "confparse/schema.h"

namespace weir::core {

extern const conf::Module kCoreModule;        // ngx_core_module
extern const conf::Module kEventsModule;      // ngx_events_module: the events block
extern const conf::Module kEventCoreModule;   // ngx_event_core_module
extern const conf::Module kEpollModule;       // ngx_epoll_module
extern const conf::Module kOpenSslModule;     // ngx_openssl_module
extern const conf::Module kThreadPoolModule;  // ngx_thread_pool_module
extern const conf::Module kRegexModule;       // ngx_regex_module

}  // namespace weir::core
