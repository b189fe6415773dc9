#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "confparse/address.h"
#include "engine/net/address.h"

// Whom to believe about the address of a client: what realip and geo's `proxy` share.
namespace weir::shared {

// A network, or all unix sockets.
struct TrustedPeer {
  bool unix_sockets = false;
  conf::Cidr network;
};
using TrustedPeers = std::vector<TrustedPeer>;
bool trusts(const TrustedPeers& peers, const net::Address& address);

enum class Forwarded : uint8_t {
  unchanged,  // not from a trusted peer, or no address was named
  changed,
};
// Reads `values` (of X-Forwarded-For and its like; the last is the nearest) and puts the client's
// address into `address`, which is the peer's. With `recursive` addresses of trusted peers in the
// list are skipped.
Forwarded forwarded_address(net::Address& address, std::span<const std::string_view> values,
                            const TrustedPeers& peers, bool recursive);

// "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80"; none when it is no such text.
net::Address parse_forwarded(std::string_view text);

}  // namespace weir::shared
