#pragma once

#include "confparse/compiler.h"
#include "engine/net/bind_rule.h"

// proxy_bind and its like, once for http and stream.
namespace weir::shared {

// Reads "off" or an address, with "transparent" or without; reports nginx's errors and leaves the
// rule disabled then.
void read_bind(conf::Compiler& compiler, const conf::Statement& at, net::BindRule& bind);

}  // namespace weir::shared
