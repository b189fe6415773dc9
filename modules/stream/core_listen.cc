#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "confparse/address.h"
#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/shared/listen.h"
#include "modules/shared/server_name.h"
#include "modules/stream/core.h"

// listen and server_name: which addresses stream listens on, and which names lead to which server
// there.
namespace weir::stream::core {

namespace {

// One address:port while servers are read.
struct ListenAddress {
  net::ListenOptions options;
  bool has_options = false;  // a listen line set socket options
  bool binds = false;        // asks for a socket of its own even beside a wildcard
  bool proxy_protocol = false;
  bool ssl = false;
  Server* explicit_default = nullptr;
  std::vector<Server*> servers;  // in reading order
};

class ListenState final : public conf::CompilerState {
 public:
  std::vector<std::unique_ptr<ListenAddress>> addresses;  // in order of first use
  std::unordered_map<std::string, ListenAddress*> by_address;
  shared::ServerNameUses<Server> names;
  bool server_listens = false;  // the server being read has a listen line
};

struct ListenLine {
  net::ListenOptions options;
  bool sets_options = false;
  bool default_server = false;
  bool proxy_protocol = false;
  bool ssl = false;
  bool backlog = false;
};

constexpr conf::UrlRules kListenRules{.default_port = 0, .listen = true};

std::string quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

bool read_parameter(Compiler& compiler, const Statement& statement, const conf::Word& word,
                    ListenLine& line) {
  const std::string_view text = word.text;
  if (text == "default_server") {
    line.default_server = true;
  } else if (text == "bind") {
    line.sets_options = true;
  } else if (text == "deferred") {
    line.options.deferred = true;
    line.sets_options = true;
  } else if (text == "reuseport") {
    line.options.reuseport = true;
    line.sets_options = true;
  } else if (text == "udp") {
    line.options.type = SOCK_DGRAM;
  } else if (text == "proxy_protocol") {
    line.proxy_protocol = true;
  } else if (text == "ssl") {
    line.ssl = true;
  } else if (shared::is_listen_value(text)) {
    line.backlog |= text.starts_with("backlog=");
    return shared::read_listen_value(compiler, statement, word, line.options, line.sets_options);
  } else {
    compiler.error(statement, "the invalid " + quoted(text) + " parameter", {}, &word);
    return false;
  }
  return true;
}

// nginx tells one of them, in this order.
bool check_datagram(Compiler& compiler, const Statement& statement, const ListenLine& line) {
  if (line.options.type != SOCK_DGRAM) return true;
  const char* wrong = line.options.fast_open  ? "fastopen"
                      : line.backlog          ? "backlog"
                      : line.options.deferred ? "deferred"
                      : line.ssl              ? "ssl"
                      : line.options.keepalive.mode != net::KeepaliveOption::Mode::system
                          ? "so_keepalive"
                      : line.proxy_protocol ? "proxy_protocol"
                                            : nullptr;
  if (!wrong) return true;
  compiler.error(statement, "\"listen\" directive " + quoted(wrong) +
                                " parameter is incompatible with \"udp\"");
  return false;
}

std::string key_of(const net::ListenOptions& options) {
  return (options.type == SOCK_DGRAM ? "udp " : "") + options.address.text();
}

void use_address(Compiler& compiler, const Statement& statement, const ListenLine& line,
                 const net::Address& address) {
  auto& state = compiler.state<ListenState>();
  Server* server = builder(compiler).current_server;
  net::ListenOptions options = line.options;
  options.address = address;
  const std::string text = address.text();
  auto& known = state.by_address[key_of(options)];
  if (!known) {
    state.addresses.push_back(std::make_unique<ListenAddress>());
    known = state.addresses.back().get();
    known->options = options;
  } else if (std::find(known->servers.begin(), known->servers.end(), server) !=
             known->servers.end()) {
    compiler.error(statement, "a duplicate listen " + text, {}, &statement.words[1]);
    return;
  }
  if (line.sets_options) {
    if (known->has_options) {
      compiler.error(statement, "duplicate listen options for " + text,
                     "socket options of one address are set once, in one of the servers",
                     &statement.words[1]);
      return;
    }
    known->has_options = known->binds = true;
    known->options = options;
  }
  if (line.default_server) {
    if (known->explicit_default) {
      compiler.error(statement, "a duplicate default server for " + text, {}, &statement.words[1]);
      return;
    }
    known->explicit_default = server;
  }
  known->proxy_protocol |= line.proxy_protocol;
  known->ssl |= line.ssl;
  known->servers.push_back(server);
}

}  // namespace

void read_listen(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.state<ListenState>().server_listens = true;
  const conf::Url url = conf::parse_url(compiler.world(), statement.argument(0), kListenRules);
  if (!url.ok()) {
    compiler.error(
        statement,
        url.problem + " in " + quoted(statement.argument(0)) + " of the \"listen\" directive", {},
        &statement.words[1]);
    return;
  }
  ListenLine line;
  for (const conf::Word& word : statement.words.subspan(2)) {
    if (!read_parameter(compiler, statement, word, line)) return;
  }
  if (!check_datagram(compiler, statement, line)) return;
  for (const conf::SocketAddress& read : url.addresses) {
    net::Address address = net::Address::from_bytes(read.bytes);
    if (address.is_unix()) line.options.keepalive = {};
    for (uint32_t port = url.port; port <= url.last_port; ++port) {
      if (address.is_ip()) address.set_port(static_cast<uint16_t>(port));
      use_address(compiler, statement, line, address);
    }
  }
}

bool take_server_listens(Compiler& compiler) {
  return std::exchange(compiler.state<ListenState>().server_listens, false);
}

void read_server_name(Compiler& compiler, Scope&, const Statement& statement) {
  Server& server = *builder(compiler).current_server;
  compiler.state<ListenState>().names.read(compiler, statement, server);
}

void complete_listeners(Compiler& compiler, uint32_t closing_number) {
  auto& state = compiler.state<ListenState>();
  Graph& graph = builder(compiler).graph();
  Resources& resources = compiler.state<http::ResourceList>().resources;
  // Wildcards first, so that others on their port find them.
  std::map<std::tuple<int, int, uint16_t>, size_t> wildcard_resource;
  for (const bool wildcards : {true, false}) {
    for (const auto& address : state.addresses) {
      const net::Address& where = address->options.address;
      if (where.is_wildcard() != wildcards) continue;
      auto listener = std::make_unique<Listener>();
      listener->options = address->options;
      listener->text = where.text();
      listener->proxy_protocol = address->proxy_protocol;
      listener->ssl = address->ssl;
      listener->servers.assign(address->servers.begin(), address->servers.end());
      listener->default_server =
          address->explicit_default ? address->explicit_default : address->servers.front();
      const auto port = std::make_tuple(where.family(), address->options.type, where.port());
      const auto shared = wildcard_resource.find(port);
      if (!wildcards && !where.is_unix() && !address->binds && shared != wildcard_resource.end()) {
        listener->resource = shared->second;
        listener->is_resource_owner = false;
      } else {
        listener->resource = resources.listeners.size();
        resources.listeners.push_back({address->options, false});
        if (wildcards) wildcard_resource[port] = listener->resource;
      }
      listener->has_names = state.names.matter(address->servers, *listener->default_server);
      state.names.add_to(compiler, closing_number, kStageNames, listener->text, address->servers,
                         listener->has_names, listener->names);
      graph.listeners.push_back(std::move(listener));
    }
  }
}

}  // namespace weir::stream::core
