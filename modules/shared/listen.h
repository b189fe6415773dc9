#pragma once

#include <string_view>

#include "confparse/compiler.h"
#include "engine/net/listener.h"

// Parameters of `listen` that concern the socket, once for http and stream.
namespace weir::shared {

// Is it one of these?
bool is_listen_value(std::string_view text);

// "name=value": backlog, fastopen, rcvbuf, sndbuf, ipv6only, accept_filter, so_keepalive.
// `sets_options` becomes true for what may stand in one listen line of an address only. Returns
// false after reporting.
bool read_listen_value(conf::Compiler& compiler, const conf::Statement& statement,
                       const conf::Word& word, net::ListenOptions& options, bool& sets_options);

}  // namespace weir::shared
