#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "confparse/pattern.h"
#include "confparse/variables.h"

namespace weir::net {

// Text keys that are looked up by view, without a copy.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

// Server name → virtual server, for one address:port.
template <class Server>
class ServerNames {
 public:
  // `name` as in server_name, lower case: exact, "*.x", ".x", "x.*"; with `pattern`: a regular
  // expression. False: the name is there already (nginx warns and keeps the first).
  bool add(std::string_view name, const Server* server, const conf::Pattern* pattern);
  // `host` lower case, no port. Exact, longest "*.x", longest "x.*", first regex; null: the default
  // server. Captures are kept in `request` (null: no captures wanted).
  const Server* find(std::string_view host, conf::VariableSource* request) const;
  bool empty() const {
    return exact_.empty() && leading_.empty() && trailing_.empty() && patterns_.empty();
  }

 private:
  TextMap<const Server*> exact_;
  TextMap<const Server*> leading_;   // ".example.com" of "*.example.com"
  TextMap<const Server*> trailing_;  // "www.example." of "www.example.*"
  std::vector<std::pair<const conf::Pattern*, const Server*>> patterns_;
};

template <class Server>
bool ServerNames<Server>::add(std::string_view name, const Server* server,
                              const conf::Pattern* pattern) {
  if (pattern) {
    patterns_.emplace_back(pattern, server);
    return true;
  }
  if (name.starts_with("*.")) return leading_.emplace(name.substr(1), server).second;
  if (name.starts_with(".")) {
    const bool exact = exact_.emplace(name.substr(1), server).second;
    const bool wildcard = leading_.emplace(name, server).second;
    return exact && wildcard;
  }
  if (name.ends_with(".*"))
    return trailing_.emplace(name.substr(0, name.size() - 1), server).second;
  return exact_.emplace(name, server).second;
}

template <class Server>
const Server* ServerNames<Server>::find(std::string_view host,
                                        conf::VariableSource* request) const {
  if (auto found = exact_.find(host); found != exact_.end()) return found->second;
  if (host.empty()) return nullptr;
  if (!leading_.empty()) {
    for (size_t dot = host.find('.'); dot != std::string_view::npos;
         dot = host.find('.', dot + 1)) {
      if (auto found = leading_.find(host.substr(dot)); found != leading_.end())
        return found->second;
    }
  }
  if (!trailing_.empty()) {
    for (size_t dot = host.rfind('.'); dot != std::string_view::npos && dot > 0;
         dot = host.rfind('.', dot - 1)) {
      if (auto found = trailing_.find(host.substr(0, dot + 1)); found != trailing_.end()) {
        return found->second;
      }
    }
  }
  for (const auto& [pattern, server] : patterns_) {
    if (request ? request->match(*pattern, host) : static_cast<bool>(pattern->regex->match(host)))
      return server;
  }
  return nullptr;
}

}  // namespace weir::net
