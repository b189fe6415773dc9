#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/pattern.h"
#include "engine/net/server_names.h"

// server_name, once for http and stream: reading names, and giving them to the tables of the
// addresses that their servers listen on.
namespace weir::shared {

// One name of a server_name line: the name as it is looked up, or an expression. False after
// reporting.
struct ServerNameRead {
  std::string name;
  std::unique_ptr<conf::Pattern> pattern;  // of "~…"
};
bool read_server_name(conf::Compiler& compiler, const conf::Statement& statement,
                      const conf::Word& word, ServerNameRead& out);
// nginx's hash rules: one '*', at an end, a whole label.
bool valid_server_name(std::string_view name);

// Does the listener choose by name, and are there names besides expressions?
template <class Listener>
bool has_plain_names(const Listener& listener) {
  if (!listener.chooses_by_name) return false;
  for (const auto* server : listener.servers) {
    for (const std::string& name : server->names) {
      if (!name.starts_with('~')) return true;
    }
  }
  return false;
}

// The names of all servers of a subsystem. Server has `names` and `name_patterns`.
template <class Server>
class ServerNameUses {
 public:
  void read(conf::Compiler& compiler, const conf::Statement& statement, Server& server) {
    for (const conf::Word& word : statement.words.subspan(1)) {
      ServerNameRead name;
      if (!read_server_name(compiler, statement, word, name)) return;
      const conf::Pattern* pattern = name.pattern.get();
      if (pattern) server.name_patterns.push_back(std::move(name.pattern));
      server.names.push_back(name.name.starts_with('.') ? name.name.substr(1) : name.name);
      uses_[&server].push_back({std::move(name.name), pattern, word.span});
    }
  }

  // Where a server begins: it is what a problem is about when it has no name.
  void begins(const Server& server, const conf::Span& place) { places_[&server] = place; }

  // nginx looks at names only where there is a choice of servers, or a capture to be made.
  bool matter(const std::vector<Server*>& servers, const Server& default_server) const {
    if (servers.size() > 1) return true;
    const auto found = uses_.find(&default_server);
    if (found == uses_.end()) return false;
    for (const Use& use : found->second) {
      if (use.pattern && use.pattern->regex->group_count() > 0) return true;
    }
    return false;
  }

  // `matter`: problems are told.
  void add_to(conf::Compiler& compiler, uint32_t closing_number, uint32_t stage,
              const std::string& address, const std::vector<Server*>& servers, bool matter,
              net::ServerNames<Server>& names) const {
    static const std::vector<Use> kNameless{{std::string(), nullptr, {}}};
    std::unordered_map<std::string_view, conf::Span> first;
    for (const Server* server : servers) {
      const auto found = uses_.find(server);
      const auto place = places_.find(server);
      // A server without server_name has the empty name: the first such server wins.
      for (const Use& use : found == uses_.end() ? kNameless : found->second) {
        const conf::Span about =
            use.about.file != 0 || place == places_.end() ? use.about : place->second;
        if (!use.pattern && !valid_server_name(use.name)) {
          if (!matter) continue;
          compiler.late_error(closing_number, stage,
                              "invalid server name or wildcard \"" + use.name + "\" on " + address,
                              nullptr,
                              "a wildcard stands for whole labels, once, at the start or end: "
                              "*.example.com, www.example.*",
                              Severity::emerg, about);
        } else if (!names.add(use.name, server, use.pattern) && matter) {
          const auto earlier = first.find(use.name);
          const std::string where = earlier == first.end() || earlier->second.file == 0
                                        ? std::string()
                                        : ", in " + compiler.line_of(earlier->second, about);
          compiler.late_error(
              closing_number, stage,
              "conflicting server name \"" + use.name + "\" on " + address + ", ignored", nullptr,
              (found == uses_.end()
                   ? "two servers on this address have no server_name; the first is used"
                   : "another server on this address has the same name; the first is used") +
                  where,
              Severity::warn, about);
        } else if (matter) {
          first.try_emplace(use.name, about);
        }
      }
    }
  }

 private:
  struct Use {
    std::string name;
    const conf::Pattern* pattern;
    conf::Span about;
  };
  std::unordered_map<const Server*, std::vector<Use>> uses_;
  std::unordered_map<const Server*, conf::Span> places_;
};

}  // namespace weir::shared
