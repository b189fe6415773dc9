#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/pattern.h"
#include "confparse/scope.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "confparse/variables.h"
#include "engine/log/error_log.h"
#include "engine/net/listener.h"
#include "engine/net/server_names.h"
#include "engine/stream/phase.h"

namespace weir::upstream {
struct Cluster;
}

namespace weir::stream {

// Settings of ngx_stream_core_module.
struct CoreSettings {
  conf::Milliseconds preread_timeout, proxy_protocol_timeout, resolver_timeout;
  conf::Bytes preread_buffer_size;
  bool tcp_nodelay = true;
  std::vector<std::string> resolver;  // the words as written
  std::shared_ptr<const ErrorLogTargets> error_log;
};

struct Server {
  std::vector<std::string> names;  // as written; names[0] is $server_name
  std::unique_ptr<conf::Scope> scope;
  PhaseHandler content = nullptr;  // proxy_pass, return, pass: the last one read
  std::vector<std::unique_ptr<conf::Pattern>> name_patterns;  // of "~…" names
};
using ServerNames = net::ServerNames<Server>;

// One address:port that accepts for stream. `resource` is its index in Resources::listeners. An
// address that is covered by a wildcard socket of the same port has resource == that of the
// wildcard and is chosen by the local address of the connection.
struct Listener {
  net::ListenOptions options;
  std::string text;  // of the address, for the log
  size_t resource = 0;
  const Server* default_server = nullptr;
  std::vector<const Server*> servers;  // in reading order
  ServerNames names;
  bool chooses_by_name = false;  // there is a choice, or a capture to be made
  bool proxy_protocol = false;
  bool ssl = false;
  bool is_resource_owner = true;
};

// The log lines of a session that has let go of its configuration: rendered as far as they can be,
// with holes for what is known at the end. Refers to nothing of the generation.
class LateLog {
 public:
  virtual ~LateLog() = default;
  virtual void finish(Session& session) = 0;
};

struct Hooks {
  std::vector<PhaseHandler> phases[kPhaseCount];  // content: its server's handler is run instead
  std::vector<void (*)(Session&)> log_handlers;
  // Called instead, when a session lets go of its configuration. Null: nothing to log.
  std::vector<std::unique_ptr<LateLog> (*)(Session&)> late_log_handlers;
  // A log handler computes on what is known at the end: sessions keep their configuration.
  bool sessions_keep_generation = false;
};

// The compiled stream block.
struct Graph {
  conf::VariableTable variables;
  // The main error_log, for scopes that have none of their own.
  std::shared_ptr<const ErrorLogTargets> error_log = std::make_shared<ErrorLogTargets>();
  Hooks hooks;
  std::unique_ptr<conf::Scope> scope;  // of stream { }
  std::vector<std::unique_ptr<Server>> servers;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::vector<std::unique_ptr<upstream::Cluster>> clusters;
  // What modules compiled: ends with the generation.
  std::vector<std::shared_ptr<void>> kept;
  template <class T>
  T& keep(std::unique_ptr<T> object) {
    T& reference = *object;
    kept.emplace_back(std::move(object));
    return reference;
  }
  Graph();
  ~Graph();
  // The listener of a connection on resource `resource`; `local` is asked only where it matters.
  const Listener* find_listener(size_t resource, const net::Address& (*local)(void*),
                                void* from) const;
};

}  // namespace weir::stream
