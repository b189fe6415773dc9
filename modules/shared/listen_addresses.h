#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "engine/generation.h"
#include "modules/shared/listen.h"
#include "modules/shared/server_name.h"

// Which addresses a subsystem listens on, and which names lead to which server there, once for http
// and stream.
namespace weir::shared {

// One address:port while servers are read.
template <class Server>
struct ListenAddress {
  net::ListenOptions options;
  bool binds = false;  // a line set socket options: a socket of its own even beside a wildcard
  bool proxy_protocol = false;
  bool http2 = false;
  bool ssl = false;
  Server* explicit_default = nullptr;
  conf::Span default_at;  // the listen lines that say so, for explanations
  conf::Span options_at;
  std::vector<Server*> servers;  // in reading order
};

// Server is http's or stream's: each has a state of its own.
template <class Server>
class ListenAddresses final : public conf::CompilerState {
 public:
  // All addresses and ports of a listen line of `server`.
  void use_all(conf::Compiler& compiler, const conf::Statement& statement, ListenLine line,
               const conf::Url& url, Server* server) {
    for (const conf::SocketAddress& read : url.addresses) {
      line.options.address = net::Address::from_bytes(read.bytes);
      if (line.options.address.is_unix()) line.options.keepalive = {};
      for (uint32_t port = url.port; port <= url.last_port; ++port) {
        if (line.options.address.is_ip())
          line.options.address.set_port(static_cast<uint16_t>(port));
        use(compiler, statement, line, server);
      }
    }
  }

  // One of them: line.options.address.
  void use(conf::Compiler& compiler, const conf::Statement& statement, const ListenLine& line,
           Server* server) {
    const std::string text = line.options.address.text();
    auto& known = by_address_[(line.options.type == SOCK_DGRAM ? "udp " : "") + text];
    if (!known) {
      addresses_.push_back(std::make_unique<ListenAddress<Server>>());
      known = addresses_.back().get();
      known->options = line.options;
    } else if (!known->servers.empty() && known->servers.back() == server) {
      compiler.error(statement, "a duplicate listen " + text,
                     "this server listens there already" + compiler.earlier(statement, true),
                     &statement.words[1]);
      return;
    }
    if (line.sets_options) {
      if (known->binds) {
        compiler.error(statement, "duplicate listen options for " + text,
                       "socket options of one address are set once, in one of the servers; the "
                       "first are in " +
                           compiler.line_of(known->options_at, statement.words[0].span),
                       &statement.words[1]);
        return;
      }
      known->binds = true;
      known->options_at = statement.words[0].span;
      known->options = line.options;
    }
    if (line.default_server) {
      if (known->explicit_default) {
        compiler.error(statement, "a duplicate default server for " + text,
                       "one server of an address is its default; that is said in " +
                           compiler.line_of(known->default_at, statement.words[0].span),
                       &statement.words[1]);
        return;
      }
      known->explicit_default = server;
      known->default_at = statement.words[0].span;
    }
    known->proxy_protocol |= line.proxy_protocol;
    known->http2 |= line.http2;
    known->ssl |= line.ssl;
    known->servers.push_back(server);
  }

  // At the closing brace of the subsystem: the listeners with their names, in `listeners`, and the
  // sockets they need, in `resources`. `finish` fills what only one subsystem's listener has.
  template <class Listener>
  void complete(conf::Compiler& compiler, uint32_t closing_number, uint32_t names_stage,
                std::vector<std::unique_ptr<Listener>>& listeners, Resources& resources,
                bool is_http, void (*finish)(Listener&, const ListenAddress<Server>&)) const {
    // Wildcards first, so that others on their port find them.
    std::map<std::tuple<int, int, uint16_t>, size_t> wildcard_resource;
    for (const bool wildcards : {true, false}) {
      for (const auto& address : addresses_) {
        const net::Address& where = address->options.address;
        if (where.is_wildcard() != wildcards) continue;
        auto listener = std::make_unique<Listener>();
        listener->options = address->options;
        listener->proxy_protocol = address->proxy_protocol;
        listener->ssl = address->ssl;
        listener->servers.assign(address->servers.begin(), address->servers.end());
        listener->default_server =
            address->explicit_default ? address->explicit_default : address->servers.front();
        const auto port = std::make_tuple(where.family(), address->options.type, where.port());
        const auto shared = wildcard_resource.find(port);
        if (!wildcards && !where.is_unix() && !address->binds &&
            shared != wildcard_resource.end()) {
          listener->resource = shared->second;
          listener->is_resource_owner = false;
        } else {
          listener->resource = resources.listeners.size();
          resources.listeners.push_back({address->options, is_http});
          if (wildcards) wildcard_resource[port] = listener->resource;
        }
        listener->chooses_by_name = names.matter(address->servers, *listener->default_server);
        names.add_to(compiler, closing_number, names_stage, where.text(), address->servers,
                     listener->chooses_by_name, listener->names);
        finish(*listener, *address);
        listeners.push_back(std::move(listener));
      }
    }
  }

  ServerNameUses<Server> names;
  bool server_listens = false;  // the server being read has a listen line

 private:
  std::vector<std::unique_ptr<ListenAddress<Server>>> addresses_;  // in order of first use
  std::unordered_map<std::string, ListenAddress<Server>*> by_address_;
};

}  // namespace weir::shared
