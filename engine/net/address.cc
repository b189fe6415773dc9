#include "engine/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weir::net {
namespace {

size_t decimal(unsigned value, char* to) {
  return static_cast<size_t>(std::to_chars(to, to + 10, value).ptr - to);
}

size_t ipv4_text(const unsigned char* address, char* to) {
  size_t size = 0;
  for (int i = 0; i < 4; ++i) {
    if (i != 0) to[size++] = '.';
    size += decimal(address[i], to + size);
  }
  return size;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > 65535)
    return std::nullopt;
  return static_cast<uint16_t>(value);
}

}  // namespace

size_t ipv6_text(const unsigned char* address, char* to) {
  int best = -1;
  int best_size = 1;
  for (int i = 0; i < 8;) {
    int end = i;
    while (end < 8 && address[2 * end] == 0 && address[2 * end + 1] == 0) ++end;
    if (end - i > best_size) {
      best = i;
      best_size = end - i;
    }
    i = end + 1;
  }
  // An IPv4 address inside: mapped, or in the old compatible form.
  bool has_ipv4 =
      best == 0 && ((best_size == 5 && address[10] == 0xff && address[11] == 0xff) ||
                    best_size == 6 || (best_size == 7 && address[14] != 0 && address[15] != 1));
  size_t size = 0;
  int groups = has_ipv4 ? 6 : 8;
  for (int i = 0; i < groups; ++i) {
    if (i == best) {
      to[size++] = ':';
      i += best_size - 1;
      if (i >= groups - 1) to[size++] = ':';
      continue;
    }
    if (i != 0) to[size++] = ':';
    unsigned value = static_cast<unsigned>(address[2 * i] << 8 | address[2 * i + 1]);
    size +=
        static_cast<size_t>(std::to_chars(to + size, to + size + 4, value, 16).ptr - (to + size));
  }
  if (has_ipv4) {
    if (to[size - 1] != ':') to[size++] = ':';
    size += ipv4_text(address + 12, to + size);
  }
  return size;
}

Address::Address(const sockaddr* address, socklen_t size) {
  if (size < sizeof(sa_family_t)) return;
  switch (address->sa_family) {
    case AF_INET:
      if (size < sizeof(sockaddr_in)) return;
      std::memcpy(&inline_.v4, address, sizeof(sockaddr_in));
      // Padding takes part in comparisons.
      std::memset(inline_.v4.sin_zero, 0, sizeof(inline_.v4.sin_zero));
      return;
    case AF_INET6:
      if (size < sizeof(sockaddr_in6)) return;
      std::memcpy(&inline_.v6, address, sizeof(sockaddr_in6));
      inline_.v6.sin6_flowinfo = 0;
      return;
    case AF_UNIX: {
      inline_.base.sa_family = AF_UNIX;
      size = std::min<socklen_t>(size, sizeof(sockaddr_un));
      constexpr socklen_t kPathAt = offsetof(sockaddr_un, sun_path);
      if (size <= kPathAt) return;
      unix_ = std::make_unique<Unix>();
      std::memset(&unix_->address, 0, sizeof(unix_->address));
      std::memcpy(&unix_->address, address, size);
      const char* path = unix_->address.sun_path;
      // A path ends at its NUL, and one more byte is part of the size; an abstract name has no end.
      if (path[0] != 0) {
        size_t length = ::strnlen(path, size - kPathAt);
        size = static_cast<socklen_t>(std::min(kPathAt + length + 1, sizeof(sockaddr_un)));
      }
      unix_->size = size;
      return;
    }
    default:
      return;
  }
}

Address::Address(const Address& other) : inline_(other.inline_) {
  if (other.unix_) unix_ = std::make_unique<Unix>(*other.unix_);
}

Address& Address::operator=(const Address& other) {
  if (this != &other) *this = Address(other);
  return *this;
}

Address Address::from_bytes(std::string_view bytes) {
  sockaddr_storage storage{};
  size_t size = std::min(bytes.size(), sizeof(storage));
  if (size != 0) std::memcpy(&storage, bytes.data(), size);
  return Address(reinterpret_cast<const sockaddr*>(&storage), static_cast<socklen_t>(size));
}

std::optional<Address> Address::parse_host(std::string_view literal, uint16_t port) {
  char text[INET6_ADDRSTRLEN + 1];
  if (literal.empty() || literal.size() >= sizeof(text)) return std::nullopt;
  if (literal.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(text, literal.data(), literal.size());
  text[literal.size()] = 0;
  unsigned char binary[16];
  if (::inet_pton(AF_INET, text, binary) == 1) {
    return from_binary({reinterpret_cast<char*>(binary), 4}, port);
  }
  if (::inet_pton(AF_INET6, text, binary) == 1) {
    return from_binary({reinterpret_cast<char*>(binary), 16}, port);
  }
  return std::nullopt;
}

std::optional<Address> Address::parse(std::string_view literal, uint16_t default_port) {
  if (literal.starts_with("unix:")) {
    literal.remove_prefix(5);
    if (literal.empty() || literal.size() >= sizeof(sockaddr_un::sun_path)) return std::nullopt;
    return unix_path(literal);
  }
  std::string_view host = literal;
  std::string_view port;
  if (literal.starts_with('[')) {
    size_t end = literal.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = literal.substr(1, end - 1);
    port = literal.substr(end + 1);
    if (host.find(':') == std::string_view::npos) return std::nullopt;
  } else if (size_t colon = literal.find(':');
             colon != std::string_view::npos && literal.find(':', colon + 1) == literal.npos) {
    host = literal.substr(0, colon);
    port = literal.substr(colon);
  }
  if (port.empty()) return parse_host(host, default_port);
  auto number = port.front() == ':' ? parse_port(port.substr(1)) : std::nullopt;
  return number ? parse_host(host, *number) : std::nullopt;
}

std::optional<Address> Address::parse_local(std::string_view literal) {
  if (auto alone = parse_host(literal)) return alone;
  auto address = parse(literal);
  if (!address || !address->is_ip() || address->port() == 0) return std::nullopt;
  return address;
}

Address Address::from_binary(std::string_view bytes, uint16_t port) {
  Address address;
  if (bytes.size() == 4) {
    address.inline_.v4.sin_family = AF_INET;
    std::memcpy(&address.inline_.v4.sin_addr, bytes.data(), 4);
  } else if (bytes.size() == 16) {
    address.inline_.v6.sin6_family = AF_INET6;
    std::memcpy(&address.inline_.v6.sin6_addr, bytes.data(), 16);
  }
  address.set_port(port);
  return address;
}

Address Address::unix_path(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t size = std::min(path.size(), sizeof(address.sun_path) - 1);
  if (size != 0) std::memcpy(address.sun_path, path.data(), size);
  return Address(reinterpret_cast<const sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + (size ? size + 1 : 0)));
}

Address Address::local_of(int descriptor) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (::getsockname(descriptor, address, &size) != 0) return {};
  return Address(address, size);
}

Address Address::peer_of(int descriptor) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (::getpeername(descriptor, address, &size) != 0) return {};
  return Address(address, size);
}

bool Address::is_wildcard() const {
  std::string_view host = binary();
  return !host.empty() && host.find_first_not_of('\0') == std::string_view::npos;
}

socklen_t Address::size() const {
  switch (family()) {
    case AF_INET:
      return sizeof(sockaddr_in);
    case AF_INET6:
      return sizeof(sockaddr_in6);
    case AF_UNIX:
      return unix_ ? unix_->size : sizeof(sa_family_t);
    default:
      return 0;
  }
}

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(inline_.v4.sin_port);
  if (family() == AF_INET6) return ntohs(inline_.v6.sin6_port);
  return 0;
}

void Address::set_port(uint16_t port) {
  if (family() == AF_INET) inline_.v4.sin_port = htons(port);
  if (family() == AF_INET6) inline_.v6.sin6_port = htons(port);
}

std::string_view Address::path() const {
  if (!unix_) return {};
  return {unix_->address.sun_path,
          ::strnlen(unix_->address.sun_path, sizeof(sockaddr_un::sun_path))};
}

std::string Address::text() const {
  if (is_unix()) return "unix:" + std::string(path());
  if (!is_ip()) return {};
  char text[kHostTextSize + 8];
  size_t size = 0;
  if (family() == AF_INET6) text[size++] = '[';
  size += host_text(text + size);
  if (family() == AF_INET6) text[size++] = ']';
  text[size++] = ':';
  size += decimal(port(), text + size);
  return std::string(text, size);
}

std::string Address::host_text() const {
  char text[kHostTextSize];
  return std::string(text, host_text(text));
}

size_t Address::host_text(char* to) const {
  switch (family()) {
    case AF_INET:
      return ipv4_text(reinterpret_cast<const unsigned char*>(&inline_.v4.sin_addr), to);
    case AF_INET6:
      return ipv6_text(inline_.v6.sin6_addr.s6_addr, to);
    case AF_UNIX:
      std::memcpy(to, "unix:", 5);
      return 5;
    default:
      return 0;
  }
}

std::string_view Address::binary() const {
  if (family() == AF_INET) return {reinterpret_cast<const char*>(&inline_.v4.sin_addr), 4};
  if (family() == AF_INET6) return {reinterpret_cast<const char*>(&inline_.v6.sin6_addr), 16};
  return {};
}

Address Address::unmapped() const {
  if (family() != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&inline_.v6.sin6_addr)) return *this;
  return from_binary(binary().substr(12), port());
}

bool Address::same_host(const Address& other) const {
  if (family() != other.family()) return false;
  return is_unix() ? *this == other : binary() == other.binary();
}

}  // namespace weir::net
