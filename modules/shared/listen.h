#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "engine/net/listener.h"

// A line of `listen`: its address and the parameters that http and stream both have.
namespace weir::shared {

struct ListenLine {
  net::ListenOptions options;
  bool sets_options = false;  // has what may stand in one listen line of an address only
  bool default_server = false;
  bool proxy_protocol = false;
  bool ssl = false;
  bool http2 = false;    // http's
  bool backlog = false;  // has backlog=
};

// Its first word. Null after reporting.
std::optional<conf::Url> read_listen_address(conf::Compiler& compiler,
                                             const conf::Statement& statement,
                                             uint16_t default_port);

// A parameter without a value: default_server, bind, deferred, reuseport, proxy_protocol, ssl.
// False when it is none of them.
bool read_listen_flag(std::string_view text, ListenLine& line);

// Is it one of these?
bool is_listen_value(std::string_view text);

// "name=value": backlog, fastopen, rcvbuf, sndbuf, ipv6only, accept_filter, so_keepalive.
// Returns false after reporting.
bool read_listen_value(conf::Compiler& compiler, const conf::Statement& statement,
                       const conf::Word& word, ListenLine& line);

}  // namespace weir::shared
