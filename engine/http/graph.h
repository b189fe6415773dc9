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
#include "engine/net/listener.h"

namespace weir::upstream {
struct Cluster;
}

namespace weir::http {

class LateLog;
struct Location;
struct VirtualServer;

using conf::Pattern;

// Locations of one level: a server's, or those nested in a prefix location.
class LocationTable {
 public:
  void add(std::unique_ptr<Location> location);
  // Sorts for lookup; reports nothing (duplicates are found by the builder while reading).
  void finish();

  // nginx's rules: exact wins; else the longest prefix, into its nested table; then, unless that is
  // ^~, the regular expressions in order (nested ones first). `matched_prefix_auto_redirect` is set
  // when `uri` + "/" is a prefix location that redirects.
  struct Found {
    const Location* location = nullptr;
    bool auto_redirect = false;
  };
  // Regular expressions are matched through `request` so that captures are kept.
  Found find(std::string_view uri, class Request& request) const;
  const std::vector<std::unique_ptr<Location>>& all() const { return locations_; }

 private:
  struct StaticEntry;
  std::vector<std::unique_ptr<Location>> locations_;  // in reading order
  std::vector<const Location*> by_name_;              // exact and prefix, sorted
  std::vector<const Location*> by_regex_;             // in reading order
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
  PhaseHandler content_handler =
      nullptr;                 // proxy_pass and its like; null: the content phase's handlers
  bool auto_redirect = false;  // "/x" → "/x/" (proxy_pass and its like, name ends in '/')
  bool internal = false;
};

struct VirtualServer {
  std::vector<std::string> names;  // as written; names[0] is $server_name
  std::unique_ptr<conf::Scope> scope;
  LocationTable locations;
  std::unordered_map<std::string_view, const Location*> named_locations;
};

// Server name → virtual server, for one address:port.
class ServerNames {
 public:
  // `name` as in server_name: exact, "*.x", ".x", "x.*", "~regex". False: it is there already with
  // another server (nginx warns: `conflicting server name "x" on 0.0.0.0:80, ignored`).
  bool add(const std::string& name, const VirtualServer* server, const Pattern* pattern);
  void finish();
  // `host` lower case, no port. Exact, longest "*.x", longest "x.*", first regex; null: the
  // default's. Regex captures are kept in `request` (may be null: no captures wanted).
  const VirtualServer* find(std::string_view host, class Request* request) const;
  bool empty() const;

 private:
  std::unordered_map<std::string, const VirtualServer*> exact_;
  std::unordered_map<std::string, const VirtualServer*>
      leading_;  // ".example.com" of "*.example.com"
  std::unordered_map<std::string, const VirtualServer*>
      trailing_;  // "www.example." of "www.example.*"
  std::vector<std::pair<const Pattern*, const VirtualServer*>> patterns_;
};

// One address:port that accepts for http. `resource` is its index in Resources::listeners. An
// address that is covered by a wildcard socket of the same port has resource == that of the
// wildcard and is chosen by the local address of the connection.
struct Listener {
  net::ListenOptions options;
  size_t resource = 0;
  const VirtualServer* default_server = nullptr;
  ServerNames names;
  bool proxy_protocol = false;
};

// Head filter, body and phase hooks, in order; filled by the modules' complete().
struct Hooks {
  std::vector<PhaseHandler> phases[kPhaseCount];
  std::vector<HeadFilter> head_filters;
  std::vector<void (*)(Request&)> log_handlers;
  // Beside each log handler that can: renders its lines when a tunnel begins (tunnel_handover.h).
  // Null: nothing to log. When their number differs from log_handlers', tunnels keep their
  // exchange.
  std::vector<std::unique_ptr<LateLog> (*)(Request&)> tunnel_log_handlers;
};

// The compiled http block.
struct Graph {
  conf::VariableTable variables;
  Hooks hooks;
  std::unique_ptr<conf::Scope> scope;  // of http { }
  std::vector<std::unique_ptr<VirtualServer>> servers;
  std::vector<std::unique_ptr<Listener>> listeners;
  // upstream { } blocks and implicit ones (proxy_pass http://host:port), by name as the balancer
  // sees it
  std::vector<std::unique_ptr<upstream::Cluster>> clusters;
  Graph();
  ~Graph();
  // The listener of a connection accepted on resource `resource` with local address `local`.
  const Listener* find_listener(size_t resource, const net::Address& local) const;
};

}  // namespace weir::http
