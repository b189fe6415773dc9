#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/net/address.h"

namespace weir::net {

// What a PROXY protocol header says (haproxy's proxy-protocol.txt, versions 1 and 2).
struct ProxyHeader {
  // False for UNKNOWN, LOCAL, UNSPEC, datagrams and unix: then nothing below is set, and the
  // connection's own addresses count.
  bool has_addresses = false;
  // As the variables show them: version 1 as sent (it may not even be an address: "1.2.3.400" is
  // accepted, as nginx does), version 2 as text.
  std::string source_text;
  std::string destination_text;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  // None when the text is not an address.
  Address source;
  Address destination;
  std::string tlvs;  // version 2: the raw type-length-value bytes
};

// Reads a header that comes in pieces.
class ProxyProtocolReader {
 public:
  enum class State : uint8_t { need_more, done, failed };
  static constexpr size_t kVersion1Limit = 107;
  static constexpr size_t kLimit = 4096;  // of any header, in whole

  struct Result {
    State state;
    size_t consumed = 0;  // done: bytes of the header; what follows is the client's
  };
  // `bytes` is all that has come so far. need_more never comes with more than kLimit bytes.
  Result read(std::string_view bytes);
  // After done.
  ProxyHeader& header() { return header_; }
  // After failed: nginx's text, to be followed by " while reading PROXY protocol".
  const std::string& error() const { return error_; }

 private:
  Result fail(std::string error);
  Result broken(std::string_view bytes);
  Result read_version1(std::string_view bytes);
  Result read_version2(std::string_view bytes);
  ProxyHeader header_;
  std::string error_;
};

// Which TLV $proxy_protocol_tlv_NAME means; made while compiling.
struct TlvSelector {
  uint8_t type = 0;
  bool inside_ssl = false;  // a sub-TLV of 0x20
  bool ssl_verify = false;  // the number in front of those
  // "alpn", "authority", "unique_id", "netns", "ssl", "ssl_version", "ssl_cn", "ssl_cipher",
  // "ssl_sig_alg", "ssl_key_alg", "ssl_verify", "0x01", "ssl_0x21". nullopt: never has a value.
  static std::optional<TlvSelector> parse(std::string_view name);
};
struct TlvValue {
  enum class State : uint8_t { found, absent, broken } state = State::absent;
  std::string value;
};
// broken: a length reaches out of the header (nginx: "broken PROXY protocol TLV").
TlvValue find_tlv(std::string_view tlvs, const TlvSelector& selector);

// The header a proxy sends: source is the client, destination the address it connected to. Of an
// IPv4 and an IPv6 address (realip) the first is written as ::ffff:1.2.3.4; others than IP
// addresses give the form without addresses.
std::string write_proxy_header_v1(Address source, Address destination);
std::string write_proxy_header_v2(Address source, Address destination);

}  // namespace weir::net
