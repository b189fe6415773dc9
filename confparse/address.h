#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/world.h"

namespace weir::conf {

// How an address is written by `listen`, `server` in an upstream, `proxy_pass` after its scheme, …
struct UrlRules {
  uint16_t default_port = 80;
  bool listen = false;      // a bare number is a port, "*" a host, ports may be a range
  bool uri_part = false;    // "/path" or "?arguments" may follow
  bool no_resolve = false;  // host names are left alone
};

// A read address. `problem` is nginx's short text when it is none ("invalid port", "no host",
// "host not found", …); setters build their message around it:
//   `{problem} in "{text}" of the "listen" directive`     `{problem} in upstream "{text}"`
struct Url {
  enum class Kind : uint8_t { name, ipv4, ipv6, unix_socket };

  std::string text;  // as written
  Kind kind = Kind::name;
  std::string host;        // "127.0.0.1", "[::1]", "backend"; the path of unix sockets
  std::string uri;         // what follows the address, with its '/' or '?'
  uint16_t port = 0;       // of the address (default_port when none was written)
  uint16_t last_port = 0;  // end of a range of `listen`; equal to port otherwise
  std::string port_text;   // as written, empty when none was
  bool no_port = false;
  bool wildcard = false;                 // all addresses of the machine
  std::vector<SocketAddress> addresses;  // with port; of a range: with its first port
  std::string problem;

  bool ok() const { return problem.empty(); }
};

// `world` resolves host names unless rules.no_resolve.
Url parse_url(World& world, std::string_view text, const UrlRules& rules);

// The four bytes of "1.2.3.4" as a number; false when it is no IPv4 address.
bool parse_ipv4(std::string_view text, uint32_t& address);
bool parse_ipv6(std::string_view text, uint8_t (&address)[16]);

// "10.0.0.0/8", "2001:db8::/32", or an address alone.
struct Cidr {
  bool ipv6 = false;
  uint8_t address[16] = {};  // IPv4: the first four; bits outside the mask are cleared
  uint8_t mask[16] = {};
  bool contains_ipv4(uint32_t host_order) const;
  bool contains_ipv6(const uint8_t* bytes) const;
  bool operator==(const Cidr&) const = default;
};
enum class CidrResult : uint8_t {
  ok,
  low_bits,  // nginx warns: `low address bits of X are meaningless`
  invalid,
};
CidrResult parse_cidr(std::string_view text, Cidr& cidr);

}  // namespace weir::conf
