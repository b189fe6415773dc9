#include "confparse/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "confparse/value.h"

namespace weir::conf {

namespace {

constexpr size_t kNone = std::string_view::npos;

SocketAddress ipv4_address(uint32_t host_order, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(host_order);
  return {std::string(reinterpret_cast<const char*>(&address), sizeof(address))};
}

SocketAddress ipv6_address(const uint8_t (&bytes)[16], uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::memcpy(&address.sin6_addr, bytes, 16);
  return {std::string(reinterpret_cast<const char*>(&address), sizeof(address))};
}

// "80", and with `range` also "80-90".
enum class PortResult : uint8_t { ok, no_number, out_of_range, wrong_order };

PortResult read_ports(std::string_view text, bool range, Url& url) {
  std::string_view first = text;
  std::string_view last;
  const size_t dash = range ? text.find('-') : kNone;
  if (dash != kNone) {
    first = text.substr(0, dash);
    last = text.substr(dash + 1);
  }
  const auto begin = parse_number(first);
  const auto end = dash == kNone ? begin : parse_number(last);
  if (!begin || !end) return PortResult::no_number;
  if (*begin < 1 || *begin > 65535 || *end < 1 || *end > 65535) return PortResult::out_of_range;
  if (*begin > *end) return PortResult::wrong_order;
  url.port = static_cast<uint16_t>(*begin);
  url.last_port = static_cast<uint16_t>(*end);
  url.port_text = text;
  return PortResult::ok;
}

bool take_ports(std::string_view text, const UrlRules& rules, Url& url) {
  switch (read_ports(text, rules.listen, url)) {
    case PortResult::ok:
      return true;
    case PortResult::wrong_order:
      url.problem = "invalid port range";
      return false;
    default:
      url.problem = "invalid port";
      return false;
  }
}

void without_port(const UrlRules& rules, Url& url) {
  url.no_port = true;
  url.port = rules.default_port;
  url.last_port = rules.default_port;
}

void read_unix(std::string_view path, const UrlRules& rules, Url& url) {
  url.kind = Url::Kind::unix_socket;
  if (rules.uri_part) {
    const size_t colon = path.find(':');
    if (colon != kNone) {
      url.uri = path.substr(colon + 1);
      path = path.substr(0, colon);
    }
  }
  url.host = path;
  sockaddr_un address{};
  if (path.empty()) {
    url.problem = "no path in the unix domain socket";
  } else if (path.size() + 1 > sizeof(address.sun_path)) {
    url.problem = "too long path in the unix domain socket";
  } else {
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    url.addresses.push_back(
        {std::string(reinterpret_cast<const char*>(&address), sizeof(address))});
  }
}

void read_ipv6(std::string_view text, const UrlRules& rules, Url& url) {
  url.kind = Url::Kind::ipv6;
  const size_t close = text.find(']');
  if (close == kNone) {
    url.problem = "invalid host";
    return;
  }
  std::string_view rest = text.substr(close + 1);
  const size_t slash = rest.find('/');
  if (slash != kNone) {
    if (rules.listen || !rules.uri_part) {
      url.problem = "invalid host";
      return;
    }
    url.uri = rest.substr(slash);
    rest = rest.substr(0, slash);
  }
  url.host = text.substr(0, close + 1);
  if (rest.empty()) {
    without_port(rules, url);
  } else if (rest.front() != ':') {
    url.problem = "invalid host";
    return;
  } else if (!take_ports(rest.substr(1), rules, url)) {
    return;
  }
  const std::string_view inside = text.substr(1, close - 1);
  uint8_t bytes[16];
  if (inside.empty()) {
    url.problem = "no host";
  } else if (!parse_ipv6(inside, bytes)) {
    url.problem = "invalid IPv6 address";
  } else {
    static constexpr uint8_t kAny[16] = {};
    url.wildcard = std::memcmp(bytes, kAny, 16) == 0;
    url.addresses.push_back(ipv6_address(bytes, url.port));
  }
}

void set_ipv4(uint32_t address, Url& url) {
  url.kind = Url::Kind::ipv4;
  url.wildcard = address == 0;
  url.addresses.push_back(ipv4_address(address, url.port));
}

// Cuts the path or the arguments off; false when none may stand there.
bool cut_uri(std::string_view& text, const UrlRules& rules, Url& url) {
  const size_t begin = text.find_first_of("/?");
  if (begin == kNone) return true;
  if (rules.listen || !rules.uri_part) {
    url.problem = "invalid host";
    return false;
  }
  url.uri = text.substr(begin);
  text = text.substr(0, begin);
  return true;
}

void read_name(World& world, std::string_view text, const UrlRules& rules, Url& url) {
  if (!cut_uri(text, rules, url)) return;
  const size_t colon = text.find(':');
  if (colon != kNone) {
    if (!take_ports(text.substr(colon + 1), rules, url)) return;
    text = text.substr(0, colon);
  } else {
    if (rules.listen && url.uri.empty()) {
      switch (read_ports(text, true, url)) {
        case PortResult::ok:
          set_ipv4(0, url);
          return;
        case PortResult::out_of_range:
          url.problem = "invalid port";
          return;
        case PortResult::wrong_order:
          url.problem = "invalid port range";
          return;
        case PortResult::no_number:
          break;
      }
    }
    without_port(rules, url);
  }
  if (text.empty()) {
    url.problem = "no host";
    return;
  }
  url.host = text;
  uint32_t address = 0;
  if (rules.listen && text == "*") {
    set_ipv4(0, url);
  } else if (parse_ipv4(text, address)) {
    set_ipv4(address, url);
  } else if (!rules.no_resolve) {
    auto answer = world.resolve(url.host, url.port);
    if (answer.ok() && !answer.value.empty()) {
      url.addresses = std::move(answer.value);
    } else {
      url.problem = "host not found";
    }
  }
}

}  // namespace

Url parse_url(World& world, std::string_view text, const UrlRules& rules) {
  Url url;
  url.text = text;
  if (text.size() >= 5 && equal_without_case(text.substr(0, 5), "unix:")) {
    read_unix(text.substr(5), rules, url);
  } else if (text.starts_with('[')) {
    read_ipv6(text, rules, url);
  } else {
    read_name(world, text, rules, url);
  }
  return url;
}

// nginx counts points and numbers only: "01.2..3" passes as 1.2.0.3.
bool parse_ipv4(std::string_view text, uint32_t& address) {
  uint32_t result = 0;
  uint32_t octet = 0;
  unsigned points = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') {
      octet = octet * 10 + static_cast<uint32_t>(c - '0');
      if (octet > 255) return false;
    } else if (c == '.' && points < 3) {
      result = (result << 8) + octet;
      octet = 0;
      ++points;
    } else {
      return false;
    }
  }
  if (points != 3) return false;
  address = (result << 8) + octet;
  return true;
}

bool parse_ipv6(std::string_view text, uint8_t (&address)[16]) {
  char copy[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof(copy) || text.find('\0') != kNone) return false;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = 0;
  return inet_pton(AF_INET6, copy, address) == 1;
}

CidrResult parse_cidr(std::string_view text, Cidr& cidr) {
  cidr = {};
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  uint32_t ipv4 = 0;
  if (parse_ipv4(host, ipv4)) {
    for (int i = 0; i < 4; ++i) cidr.address[i] = static_cast<uint8_t>(ipv4 >> (24 - 8 * i));
  } else if (parse_ipv6(host, cidr.address)) {
    cidr.ipv6 = true;
  } else {
    return CidrResult::invalid;
  }
  const int64_t bits = cidr.ipv6 ? 128 : 32;
  int64_t length = bits;
  if (slash != kNone) {
    const auto written = parse_number(text.substr(slash + 1));
    if (!written || *written > bits) return CidrResult::invalid;
    length = *written;
  }
  bool low_bits = false;
  for (int i = 0; i < bits / 8; ++i) {
    const int64_t here = std::min<int64_t>(std::max<int64_t>(length - 8 * i, 0), 8);
    cidr.mask[i] = static_cast<uint8_t>(0xff00 >> here);
    if (cidr.address[i] & ~cidr.mask[i]) low_bits = true;
    cidr.address[i] &= cidr.mask[i];
  }
  return low_bits ? CidrResult::low_bits : CidrResult::ok;
}

bool Cidr::contains_ipv4(uint32_t host_order) const {
  if (ipv6) return false;
  for (int i = 0; i < 4; ++i) {
    const auto byte = static_cast<uint8_t>(host_order >> (24 - 8 * i));
    if ((byte & mask[i]) != address[i]) return false;
  }
  return true;
}

bool Cidr::contains_ipv6(const uint8_t* bytes) const {
  if (!ipv6) return false;
  for (int i = 0; i < 16; ++i) {
    if ((bytes[i] & mask[i]) != address[i]) return false;
  }
  return true;
}

}  // namespace weir::conf
