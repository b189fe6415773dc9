#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::net {

// A socket address: IPv4, IPv6, unix, or none. A value: copied, compared and hashed as a whole
// (address, port, IPv6 scope; a unix path). 40 bytes; a unix path is kept apart.
class Address {
 public:
  Address() = default;  // none: family() is AF_UNSPEC, size() is 0
  // Other families than the three, and sizes too small for them, give none.
  Address(const sockaddr* address, socklen_t size);
  Address(const Address& other);
  Address(Address&& other) noexcept = default;
  Address& operator=(const Address& other);
  Address& operator=(Address&& other) noexcept = default;

  // The kernel's form, as in conf::SocketAddress::bytes.
  static Address from_bytes(std::string_view bytes);
  // A literal IPv4 or IPv6 address, without brackets.
  static std::optional<Address> parse_host(std::string_view literal, uint16_t port = 0);
  // "127.0.0.1:80", "127.0.0.1", "[::1]:80", "[::1]", "::1", "unix:/path". No names.
  static std::optional<Address> parse(std::string_view literal, uint16_t default_port = 0);
  // What `proxy_bind` takes: an IP address alone, or with a port other than 0; brackets only in
  // front of a port.
  static std::optional<Address> parse_local(std::string_view literal);
  // 4 or 16 bytes in network order.
  static Address from_binary(std::string_view bytes, uint16_t port);
  static Address unix_path(std::string_view path);
  // getsockname and getpeername; none when the call fails.
  static Address local_of(int descriptor);
  static Address peer_of(int descriptor);

  int family() const { return inline_.base.sa_family; }
  bool empty() const { return family() == AF_UNSPEC; }
  bool is_unix() const { return family() == AF_UNIX; }
  bool is_ip() const { return family() == AF_INET || family() == AF_INET6; }
  bool is_wildcard() const;  // 0.0.0.0 or ::, any port
  const sockaddr* data() const { return unix_ ? &unix_->base : &inline_.base; }
  socklen_t size() const;
  std::string_view bytes() const { return {reinterpret_cast<const char*>(data()), size()}; }

  uint16_t port() const;  // 0 for unix
  void set_port(uint16_t port);
  // The path of a unix address; empty for an unnamed one.
  std::string_view path() const;

  // As nginx prints it: "127.0.0.1:80", "[::1]:80", "unix:/path" ("unix:" when unnamed). None: "".
  std::string text() const;
  // Without the port and the brackets ($remote_addr): "127.0.0.1", "::1", "unix:" for every unix
  // peer.
  std::string host_text() const;
  // The same into a buffer of at least kHostTextSize; returns the length.
  static constexpr size_t kHostTextSize = 46;
  size_t host_text(char* to) const;
  // 4 or 16 bytes in network order; empty for unix.
  std::string_view binary() const;
  // ::ffff:1.2.3.4 becomes 1.2.3.4, others stay.
  Address unmapped() const;

  bool operator==(const Address& other) const { return bytes() == other.bytes(); }
  bool same_host(const Address& other) const;  // without the port
  size_t hash() const { return std::hash<std::string_view>()(bytes()); }

 private:
  struct Unix {
    union {
      sockaddr base;
      sockaddr_un address;
    };
    socklen_t size;
  };
  union Inline {
    sockaddr_in6 v6;  // the largest first: it is the one that {} clears
    sockaddr_in v4;
    sockaddr base;
  };
  Inline inline_{};  // for unix: the family only
  std::unique_ptr<Unix> unix_;
};

// IPv6 text by nginx's rules (the longest run of zero groups is "::"); returns the length.
// `to` holds at least Address::kHostTextSize bytes.
size_t ipv6_text(const unsigned char* address, char* to);

}  // namespace weir::net

template <>
struct std::hash<weir::net::Address> {
  size_t operator()(const weir::net::Address& address) const { return address.hash(); }
};
