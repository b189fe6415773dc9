#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "confparse/pattern.h"
#include "confparse/scope.h"
#include "confparse/value.h"
#include "confparse/variables.h"
#include "engine/http/filter.h"
#include "engine/http/phase.h"
#include "engine/log/error_log.h"
#include "engine/net/listener.h"
#include "engine/net/server_names.h"

namespace weir::upstream {
struct Cluster;
}

namespace weir::http {

class LateLog;
class Request;
struct Location;
struct VirtualServer;

using conf::Pattern;

template <class T>
using TextMap = net::TextMap<T>;

// Locations of one level: a server's, or those nested in a location.
class LocationTable {
 public:
  LocationTable();
  ~LocationTable();
  void add(std::unique_ptr<Location> location);
  // Sorts for lookup. Duplicates were found by the builder (find_same).
  void finish();

  // nginx's rules: exact wins; else the longest prefix, into its nested table; then, unless that is
  // ^~, the regular expressions in order. `auto_redirect`: `uri` + "/" is a location that redirects
  // there, and nothing matches `uri` itself better. Expressions are matched through `request`, so
  // that captures are kept.
  struct Found {
    const Location* location = nullptr;
    bool auto_redirect = false;
    bool final = false;  // no expression of a level above is tried
  };
  Found find(std::string_view uri, conf::VariableSource& request) const;
  // A location of the same kind and name that was added before, or null.
  const Location* find_same(const Location& location) const;
  const std::vector<std::unique_ptr<Location>>& all() const { return locations_; }

 private:
  // One distinct name. The longest name that is a proper prefix of it is its parent: the longest
  // match of any text is found by one binary search and a walk up the parents.
  struct Entry {
    std::string_view name;
    const Location* exact = nullptr;
    const Location* prefix = nullptr;
    int32_t parent = -1;
  };
  struct StaticMatch {
    const Location* location = nullptr;
    bool final = false;  // exact or auto_redirect: no regular expression is tried
    bool auto_redirect = false;
  };
  StaticMatch find_static(std::string_view uri) const;

  std::vector<std::unique_ptr<Location>> locations_;  // in reading order
  std::vector<Entry> entries_;                        // sorted by name
  std::vector<const Location*> regex_;                // in reading order
  // While reading: every name with its kind, to find duplicates without a search.
  std::unordered_map<std::string, const Location*> names_;
};

// limit_except: requests with other methods than `allowed` (bit per Method) get this scope.
struct LimitExcept {
  uint32_t allowed = 0;
  std::unique_ptr<conf::Scope> scope;
  PhaseHandler content_handler = nullptr;
};

struct Location {
  enum class Kind : uint8_t { exact, prefix, prefix_no_regex, regex, named };
  Kind kind = Kind::prefix;
  std::string name;  // as written, after normalising quotes: "/x", "\.php$", "@back"
  std::unique_ptr<Pattern> pattern;    // regex only
  std::unique_ptr<conf::Scope> scope;  // finished settings
  std::unique_ptr<LocationTable> nested;
  const Location* parent = nullptr;
  const VirtualServer* server = nullptr;
  std::unique_ptr<LimitExcept> limit_except;
  // proxy_pass and its like; null: the content phase's handlers.
  PhaseHandler content_handler = nullptr;
  bool auto_redirect = false;  // "/x" → "/x/" (proxy_pass and its like, name ends in '/')
  bool internal = false;
  // Its handler passes bodies on as they come, without a count (grpc_pass): the default of
  // client_max_body_size is not for it, only one that the configuration gives.
  bool streams_bodies = false;
};

struct VirtualServer {
  std::vector<std::string> names;  // as written; names[0] is $server_name
  std::unique_ptr<conf::Scope> scope;
  LocationTable locations;
  TextMap<const Location*> named_locations;
  std::vector<std::unique_ptr<Pattern>> name_patterns;  // of "~…" names
};

using ServerNames = net::ServerNames<VirtualServer>;

// One address:port that accepts for http. `resource` is its index in Resources::listeners. An
// address that is covered by a wildcard socket of the same port has resource == that of the
// wildcard and is chosen by the local address of the connection.
struct Listener {
  net::ListenOptions options;
  size_t resource = 0;
  const VirtualServer* default_server = nullptr;
  ServerNames names;
  bool proxy_protocol = false;
  bool http2 = false;  // listen … http2: whatever the servers say
  bool ssl = false;
  // All that stand here, in reading order; with one server and no captures names are not looked at.
  std::vector<const VirtualServer*> servers;
  bool chooses_by_name = false;
  // The server of a name in a TLS hello; null: none has it.
  const VirtualServer* find_by_sni(std::string_view name) const;
  // Its own socket, not one chosen by local address on the socket of a wildcard.
  bool is_resource_owner = true;
};

// Head filter, body and phase hooks, in order; filled by the modules' complete().
struct Hooks {
  std::vector<PhaseHandler> phases[kPhaseCount];
  std::vector<HeadFilter> head_filters;
  std::vector<void (*)(Request&)> log_handlers;
  // Called when a tunnel begins, instead of log_handlers: what each gives is told of the tunnel's
  // end (tunnel_handover.h). Null: nothing to tell.
  std::vector<std::unique_ptr<LateLog> (*)(Request&)> tunnel_log_handlers;
  // A log handler computes on what is known at the end: tunnels keep their exchange, and
  // log_handlers run when it is over.
  bool tunnels_keep_exchange = false;
};

// The compiled http block.
struct Graph {
  conf::VariableTable variables;
  // The main error_log, for scopes that have none of their own.
  std::shared_ptr<const ErrorLogTargets> error_log = std::make_shared<ErrorLogTargets>();
  // -p, with its slash at the end: relative paths made at run time are from here.
  std::string prefix;
  Hooks hooks;
  std::unique_ptr<conf::Scope> scope;  // of http { }
  std::vector<std::unique_ptr<VirtualServer>> servers;
  std::vector<std::unique_ptr<Listener>> listeners;
  // upstream { } blocks and implicit ones (proxy_pass http://host:port), by name as the balancer
  // sees it
  std::vector<std::unique_ptr<upstream::Cluster>> clusters;
  // What modules compiled (maps, programs): ends with the generation.
  std::vector<std::shared_ptr<void>> kept;
  template <class T>
  T& keep(std::unique_ptr<T> object) {
    T& reference = *object;
    kept.emplace_back(std::move(object));
    return reference;
  }
  Graph();
  ~Graph();
  // The listener of a connection accepted on resource `resource` with local address `local`.
  const Listener* find_listener(size_t resource, const net::Address& local) const;
};

}  // namespace weir::http
