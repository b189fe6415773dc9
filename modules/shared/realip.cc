#include "modules/shared/realip.h"

#include <algorithm>
#include <cstring>

namespace weir::shared {

namespace {

conf::Cidr single(const net::Address& address) {
  conf::Cidr network;
  const std::string_view bytes = address.binary();
  network.ipv6 = bytes.size() == 16;
  std::copy(bytes.begin(), bytes.end(), network.address);
  std::fill_n(network.mask, bytes.size(), uint8_t{0xff});
  return network;
}

}  // namespace

void read_real_ip_from(conf::Compiler& compiler, conf::Scope& scope, RealAddressSettings& settings,
                       const conf::Statement& statement) {
  if (compiler.first_use(scope)) settings.trusted.clear();
  const std::string_view text = statement.argument(0);
  TrustedPeer peer;
  if (text == "unix:") {
    peer.unix_sockets = true;
    settings.trusted.push_back(peer);
    return;
  }
  switch (conf::parse_cidr(text, peer.network)) {
    case conf::CidrResult::low_bits:
      compiler.warn(statement, "low address bits of " + std::string(text) + " are meaningless", {},
                    &statement.words[1]);
      [[fallthrough]];
    case conf::CidrResult::ok:
      settings.trusted.push_back(peer);
      return;
    case conf::CidrResult::invalid:
      break;
  }
  // A host name: all its addresses, as they are now.
  const conf::Answer<std::vector<conf::SocketAddress>> found =
      text.empty() || text.find_first_of("/:") != text.npos
          ? conf::Answer<std::vector<conf::SocketAddress>>{{}, -1}
          : compiler.world().resolve(std::string(text), 0);
  if (!found.ok() || found.value.empty()) {
    compiler.error(
        statement, "host not found in set_real_ip_from \"" + std::string(text) + "\"",
        "an address, a network such as 10.0.0.0/8, a host name, or unix:", &statement.words[1]);
    return;
  }
  for (const conf::SocketAddress& address : found.value) {
    peer.network = single(net::Address::from_bytes(address.bytes));
    settings.trusted.push_back(peer);
  }
}

}  // namespace weir::shared
