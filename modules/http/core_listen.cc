#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "confparse/address.h"
#include "confparse/setters.h"
#include "modules/http/core.h"
#include "modules/shared/listen.h"

// listen and server_name: which addresses http listens on, and which names lead to which server
// there.
namespace weir::http::core {

namespace {

// One address:port while servers are read.
struct ListenAddress {
  net::ListenOptions options;
  const Statement* options_from = nullptr;  // the listen line that set socket options
  const Statement* first = nullptr;
  bool binds = false;  // asks for a socket of its own even beside a wildcard
  bool proxy_protocol = false;
  bool http2 = false;
  bool ssl = false;
  VirtualServer* explicit_default = nullptr;
  std::vector<VirtualServer*> servers;  // in reading order
};

class ListenState final : public conf::CompilerState {
 public:
  std::vector<std::unique_ptr<ListenAddress>> addresses;  // in order of first use
  std::unordered_map<std::string, ListenAddress*> by_address;
  // Where each server's names were written, for messages.
  struct NameUse {
    VirtualServer* server;
    std::string name;
    const Pattern* pattern;
    const Statement* at;
  };
  std::vector<NameUse> names;
  bool server_listens = false;  // the server being read has a listen line
};

struct ListenLine {
  bool http2 = false;
  net::ListenOptions options;
  bool sets_options = false;
  bool default_server = false;
  bool proxy_protocol = false;
  bool ssl = false;
};

constexpr conf::UrlRules kListenRules{.default_port = 80, .listen = true};

std::string quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

bool read_parameter(Compiler& compiler, const Statement& statement, const conf::Word& word,
                    ListenLine& line) {
  if (word.text == "default_server" || word.text == "default") {
    line.default_server = true;
  } else if (word.text == "bind") {
    line.sets_options = true;
  } else if (word.text == "deferred") {
    line.options.deferred = true;
    line.sets_options = true;
  } else if (word.text == "reuseport") {
    line.options.reuseport = true;
    line.sets_options = true;
  } else if (word.text == "proxy_protocol") {
    line.proxy_protocol = true;
  } else if (word.text == "ssl") {
    line.ssl = true;
  } else if (word.text == "http2") {
    compiler.warn(statement,
                  "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive "
                  "instead",
                  "write `http2 on;` in the server", &word);
    line.http2 = true;
  } else if (word.text == "quic") {
    compiler.error(statement, "the \"quic\" parameter requires ngx_http_v3_module", {}, &word);
    return false;
  } else if (word.text.find('=') != std::string_view::npos) {
    return shared::read_listen_value(compiler, statement, word, line.options, line.sets_options);
  } else {
    compiler.invalid_parameter(statement, word);
    return false;
  }
  return true;
}

void use_address(Compiler& compiler, const Statement& statement, const ListenLine& line,
                 const net::Address& address) {
  auto& state = compiler.state<ListenState>();
  VirtualServer* server = builder(compiler).current_server;
  const std::string text = address.text();
  auto& known = state.by_address[text];
  if (!known) {
    state.addresses.push_back(std::make_unique<ListenAddress>());
    known = state.addresses.back().get();
    known->options = line.options;
    known->options.address = address;
    known->first = &statement;
  } else if (!known->servers.empty() && known->servers.back() == server) {
    compiler.error(statement, "a duplicate listen " + text, {}, &statement.words[1]);
    return;
  }
  if (line.sets_options) {
    if (known->options_from) {
      compiler.error(statement, "duplicate listen options for " + text,
                     "socket options of one address are set once, in one of the servers",
                     &statement.words[1]);
      return;
    }
    known->options_from = &statement;
    known->options = line.options;
    known->options.address = address;
    known->binds = true;
  }
  if (line.default_server) {
    if (known->explicit_default) {
      compiler.error(statement, "a duplicate default server for " + text, {}, &statement.words[1]);
      return;
    }
    known->explicit_default = server;
  }
  known->proxy_protocol |= line.proxy_protocol;
  known->http2 |= line.http2;
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
  for (size_t i = 2; i < statement.words.size(); ++i) {
    const conf::Word& word = statement.words[i];
    if (!read_parameter(compiler, statement, word, line)) return;
  }
  for (const conf::SocketAddress& read : url.addresses) {
    net::Address address = net::Address::from_bytes(read.bytes);
    if (address.is_unix()) line.options.keepalive = {};
    for (uint32_t port = url.port; port <= url.last_port; ++port) {
      if (address.is_ip()) address.set_port(static_cast<uint16_t>(port));
      use_address(compiler, statement, line, address);
    }
  }
}

void finish_server_addresses(Compiler& compiler, const Statement& server) {
  auto& state = compiler.state<ListenState>();
  if (!state.server_listens) {
    // nginx listens on port 8000 when it may not bind to 80.
    const uint16_t port = compiler.world().privileged().value ? 80 : 8000;
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    use_address(compiler, server, ListenLine{},
                net::Address(reinterpret_cast<sockaddr*>(&any), sizeof any));
  }
  state.server_listens = false;
}

void read_server_name(Compiler& compiler, Scope&, const Statement& statement) {
  auto& state = compiler.state<ListenState>();
  Builder& build = builder(compiler);
  VirtualServer& server = *build.current_server;
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const conf::Word& word = statement.words[i];
    const std::string_view text = word.text;
    if ((text.starts_with("*") && (text.size() < 3 || text[1] != '.')) ||
        (text.starts_with(".") && text.size() < 2)) {
      compiler.error(
          statement, "server name " + quoted(text) + " is invalid",
          "a wildcard stands for whole labels at the start or end: *.example.com, www.example.*",
          &word);
      return;
    }
    if (text.find('/') != std::string_view::npos) {
      compiler.warn(statement, "server name " + quoted(text) + " has suspicious symbols",
                    "a name has no scheme and no path", &word);
    }
    std::string name(text);
    const Pattern* pattern = nullptr;
    if (text.starts_with("~")) {
      if (text.size() == 1) {
        compiler.error(statement, "empty regex in server name " + quoted(text), {}, &word);
        return;
      }
      const bool ignore_case =
          std::any_of(text.begin() + 1, text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      auto made = conf::make_pattern(compiler, statement, text.substr(1), ignore_case);
      if (!made) return;
      pattern = made.get();
      server.name_patterns.push_back(std::move(made));
    } else {
      if (text == "$hostname") name = compiler.world().host_name().value;
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    }
    server.names.push_back(name.starts_with('.') ? name.substr(1) : name);
    state.names.push_back({&server, std::move(name), pattern, &statement});
  }
}

namespace {

// nginx's hash rules: one '*', at an end, a whole label.
bool valid_name(std::string_view name) {
  if (name.find("..") != std::string_view::npos) return false;
  const auto stars = std::count(name.begin(), name.end(), '*');
  if (stars == 0) return true;
  return stars == 1 && (name.starts_with("*.") || (name.ends_with(".*") && name.size() > 2));
}

using NameUses = std::unordered_map<const VirtualServer*, std::vector<const ListenState::NameUse*>>;

bool captures(const NameUses& uses, const VirtualServer& server) {
  const auto found = uses.find(&server);
  return found != uses.end() &&
         std::any_of(found->second.begin(), found->second.end(), [](const auto* use) {
           return use->pattern && use->pattern->regex->group_count() > 0;
         });
}

void add_names(Compiler& compiler, uint32_t closing_number, const ListenAddress& address,
               Listener& listener, const NameUses& uses) {
  const std::string text = listener.options.address.text();
  // nginx looks at names only where there is a choice of servers, or a capture to be made.
  const bool named_by = listener.chooses_by_name =
      address.servers.size() > 1 || captures(uses, *listener.default_server);
  for (VirtualServer* server : address.servers) {
    auto found = uses.find(server);
    if (found == uses.end()) {
      // A server without server_name has the empty name: the first such server of an address wins.
      if (!listener.names.add("", server, nullptr)) {
        compiler.late_error(closing_number, kStageNames,
                            "conflicting server name \"\" on " + text + ", ignored", nullptr,
                            "two servers on this address have no server_name; the first is used",
                            Severity::warn);
      }
      continue;
    }
    for (const ListenState::NameUse* use : found->second) {
      if (!use->pattern && !valid_name(use->name)) {
        if (!named_by) continue;
        compiler.late_error(closing_number, kStageNames,
                            "invalid server name or wildcard " + quoted(use->name) + " on " + text);
      } else if (!listener.names.add(use->name, server, use->pattern) && named_by) {
        compiler.late_error(
            closing_number, kStageNames,
            "conflicting server name " + quoted(use->name) + " on " + text + ", ignored", nullptr,
            "another server on this address has the same name; the first is used", Severity::warn);
      }
    }
  }
}

}  // namespace

void complete_listeners(Compiler& compiler, uint32_t closing_number) {
  auto& state = compiler.state<ListenState>();
  Graph& graph = builder(compiler).graph();
  Resources& resources = compiler.state<ResourceList>().resources;
  NameUses uses;
  for (const auto& use : state.names) uses[use.server].push_back(&use);

  // Wildcards first, so that others on their port find them.
  std::map<std::pair<int, uint16_t>, size_t> wildcard_resource;
  for (const bool wildcards : {true, false}) {
    for (const auto& address : state.addresses) {
      const net::Address& where = address->options.address;
      if (where.is_wildcard() != wildcards) continue;
      auto listener = std::make_unique<Listener>();
      listener->options = address->options;
      listener->proxy_protocol = address->proxy_protocol;
      listener->http2 = address->http2;
      listener->ssl = address->ssl;
      listener->servers.assign(address->servers.begin(), address->servers.end());
      listener->default_server =
          address->explicit_default ? address->explicit_default : address->servers.front();
      const auto port = std::make_pair(where.family(), where.port());
      const auto shared = wildcard_resource.find(port);
      if (!wildcards && !where.is_unix() && !address->binds && shared != wildcard_resource.end()) {
        listener->resource = shared->second;
        listener->is_resource_owner = false;
      } else {
        listener->resource = resources.listeners.size();
        resources.listeners.push_back({address->options, true});
        if (wildcards) wildcard_resource[port] = listener->resource;
      }
      add_names(compiler, closing_number, *address, *listener, uses);
      graph.listeners.push_back(std::move(listener));
    }
  }
}

}  // namespace weir::http::core
