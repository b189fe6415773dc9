#include "modules/shared/forwarded.h"

#include <netinet/in.h>

#include <cstring>

#include "confparse/value.h"

namespace weir::shared {

bool trusts(const TrustedPeers& peers, const net::Address& address) {
  const net::Address plain = address.unmapped();
  const std::string_view bytes = plain.binary();
  uint32_t word = 0;
  if (bytes.size() == sizeof word) std::memcpy(&word, bytes.data(), sizeof word);
  for (const TrustedPeer& peer : peers) {
    if (peer.unix_sockets) {
      if (address.is_unix()) return true;
    } else if (bytes.size() == 4) {
      if (!peer.network.ipv6 && peer.network.contains_ipv4(ntohl(word))) return true;
    } else if (bytes.size() == 16) {
      const auto* raw = reinterpret_cast<const uint8_t*>(bytes.data());
      if (peer.network.ipv6 && peer.network.contains_ipv6(raw)) return true;
    }
  }
  return false;
}

net::Address parse_forwarded(std::string_view text) {
  if (auto plain = net::Address::parse_host(text)) return *plain;
  std::string_view host, port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos || end + 1 >= text.size() || text[end + 1] != ':') return {};
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else {
    const size_t colon = text.find(':');
    if (colon == text.npos) return {};
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  const auto number = conf::parse_number(port);
  if (!number || *number < 1 || *number > 65535) return {};
  const auto address = net::Address::parse_host(host, static_cast<uint16_t>(*number));
  return address ? *address : net::Address();
}

namespace {

enum class Step : uint8_t {
  untrusted,  // the present address is not to be believed
  taken,      // and it may go on behind it
  last,       // nothing more may be believed
};

// One header's list, from its end.
Step read_list(net::Address& address, std::string_view list, const TrustedPeers& peers,
               bool recursive) {
  bool taken = false;
  while (true) {
    if (!trusts(peers, address)) return taken ? Step::last : Step::untrusted;
    while (!list.empty() && (list.back() == ' ' || list.back() == ',')) list.remove_suffix(1);
    size_t before = list.find_last_of(" ,");
    if (before == 0) before = list.npos;  // nginx looks for no separator there
    const std::string_view text = before == list.npos ? list : list.substr(before + 1);
    const net::Address named = parse_forwarded(text);
    if (named.empty()) return taken ? Step::last : Step::untrusted;
    address = named;
    taken = true;
    if (!recursive || before == list.npos) return Step::taken;
    list = list.substr(0, before);
  }
}

}  // namespace

Forwarded forwarded_address(net::Address& address, std::span<const std::string_view> values,
                            const TrustedPeers& peers, bool recursive) {
  Forwarded result = Forwarded::unchanged;
  for (size_t i = values.size(); i-- > 0;) {
    const Step step = read_list(address, values[i], peers, recursive);
    if (step != Step::untrusted) result = Forwarded::changed;
    if (step != Step::taken || !recursive) break;
  }
  return result;
}

}  // namespace weir::shared
