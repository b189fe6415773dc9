#include "engine/net/proxy_protocol.h"

#include <algorithm>
#include <charconv>

namespace weir::net {
namespace {

constexpr std::string_view kVersion1Prefix = "PROXY ";
constexpr std::string_view kSignature{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr size_t kVersion2Head = 16;
constexpr uint8_t kTlvSsl = 0x20;
constexpr size_t kSslHead = 5;  // client flags, verify result

unsigned byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

size_t length_at(std::string_view text, size_t at) {
  return byte_at(text, at) << 8 | byte_at(text, at + 1);
}

// The text up to the separator, which is taken too; nullopt when a character does not belong.
std::optional<std::string_view> take_address(std::string_view& rest) {
  size_t end = rest.find_first_not_of("0123456789abcdefABCDEF.:");
  if (end == std::string_view::npos || rest[end] != ' ') return std::nullopt;
  std::string_view address = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return address;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value > 65535) return std::nullopt;
  return static_cast<uint16_t>(value);
}

Address address_of(std::string_view text, uint16_t port) {
  return Address::parse_host(text, port).value_or(Address());
}

std::optional<uint8_t> parse_type(std::string_view name) {
  if (!name.starts_with("0x")) return std::nullopt;
  unsigned value = 0;
  const char* last = name.data() + name.size();
  auto [end, error] = std::from_chars(name.data() + 2, last, value, 16);
  if (error != std::errc() || end != last || value > 255) return std::nullopt;
  return static_cast<uint8_t>(value);
}

struct NamedTlv {
  std::string_view name;
  uint8_t type;
};
constexpr NamedTlv kTlvs[] = {
    {"alpn", 0x01}, {"authority", 0x02}, {"unique_id", 0x05}, {"ssl", kTlvSsl}, {"netns", 0x30}};
constexpr NamedTlv kSslTlvs[] = {
    {"version", 0x21}, {"cn", 0x22}, {"cipher", 0x23}, {"sig_alg", 0x24}, {"key_alg", 0x25}};

template <size_t N>
std::optional<uint8_t> type_of(std::string_view name, const NamedTlv (&names)[N]) {
  for (const NamedTlv& tlv : names) {
    if (tlv.name == name) return tlv.type;
  }
  return parse_type(name);
}

TlvValue find_type(std::string_view tlvs, uint8_t type) {
  while (!tlvs.empty()) {
    if (tlvs.size() < 3) return {TlvValue::State::broken, {}};
    size_t length = length_at(tlvs, 1);
    if (length > tlvs.size() - 3) return {TlvValue::State::broken, {}};
    if (byte_at(tlvs, 0) == type) {
      return {TlvValue::State::found, std::string(tlvs.substr(3, length))};
    }
    tlvs.remove_prefix(3 + length);
  }
  return {};
}

// Both in one family: beside an IPv6 address an IPv4 one is ::ffff:1.2.3.4. False: they are no IP
// addresses.
bool unite_families(Address& one, Address& other) {
  if (!one.is_ip() || !other.is_ip()) return false;
  if (one.family() == other.family()) return true;
  Address& shorter = one.family() == AF_INET ? one : other;
  std::string mapped(10, '\0');
  mapped += "\xff\xff";
  mapped += shorter.binary();
  shorter = Address::from_binary(mapped, shorter.port());
  return true;
}

void append_number(std::string& text, size_t value) {
  text.push_back(static_cast<char>(value >> 8));
  text.push_back(static_cast<char>(value & 0xff));
}

}  // namespace

ProxyProtocolReader::Result ProxyProtocolReader::fail(std::string error) {
  error_ = std::move(error);
  return {State::failed, 0};
}

ProxyProtocolReader::Result ProxyProtocolReader::broken(std::string_view bytes) {
  // The first line only: what a peer sends must not become lines of the log.
  bytes = bytes.substr(0, std::min(bytes.find_first_of("\r\n"), kVersion1Limit));
  return fail("broken header: \"" + std::string(bytes) + "\"");
}

ProxyProtocolReader::Result ProxyProtocolReader::read(std::string_view bytes) {
  if (bytes.empty()) return {State::need_more, 0};
  std::string_view expected = bytes[0] == kSignature[0] ? kSignature : kVersion1Prefix;
  size_t compared = std::min(bytes.size(), expected.size());
  if (bytes.substr(0, compared) != expected.substr(0, compared)) return broken(bytes);
  if (compared < expected.size()) return {State::need_more, 0};
  return expected.size() == kSignature.size() ? read_version2(bytes) : read_version1(bytes);
}

ProxyProtocolReader::Result ProxyProtocolReader::read_version1(std::string_view bytes) {
  std::string_view rest = bytes.substr(kVersion1Prefix.size());
  constexpr std::string_view kUnknown = "UNKNOWN";
  bool may_be_unknown =
      rest.substr(0, kUnknown.size()) == kUnknown.substr(0, std::min(rest.size(), kUnknown.size()));
  if (may_be_unknown) {
    // Anything up to the end of the line; nginx does not hold it to 107 bytes.
    size_t end = rest.find("\r\n", kUnknown.size());
    if (rest.size() >= kUnknown.size() && end != std::string_view::npos &&
        end + 2 + kVersion1Prefix.size() <= kLimit) {
      return {State::done, kVersion1Prefix.size() + end + 2};
    }
    if (bytes.size() >= kLimit) return broken(bytes);
    return {State::need_more, 0};
  }
  size_t end = bytes.find('\r');
  if (end == std::string_view::npos || end + 1 >= bytes.size()) {
    return bytes.size() >= kVersion1Limit ? broken(bytes) : Result{State::need_more, 0};
  }
  if (bytes[end + 1] != '\n' || end + 2 > kVersion1Limit) return broken(bytes);
  rest = bytes.substr(kVersion1Prefix.size(), end - kVersion1Prefix.size());
  if (!rest.starts_with("TCP4 ") && !rest.starts_with("TCP6 ")) return broken(bytes);
  rest.remove_prefix(5);
  auto source = take_address(rest);
  if (!source) return broken(bytes);
  auto destination = take_address(rest);
  if (!destination) return broken(bytes);
  size_t space = rest.find(' ');
  if (space == std::string_view::npos) return broken(bytes);
  auto source_port = parse_port(rest.substr(0, space));
  auto destination_port = parse_port(rest.substr(space + 1));
  if (!source_port || !destination_port) return broken(bytes);
  header_.has_addresses = true;
  header_.source_text = *source;
  header_.destination_text = *destination;
  header_.source_port = *source_port;
  header_.destination_port = *destination_port;
  header_.source = address_of(*source, *source_port);
  header_.destination = address_of(*destination, *destination_port);
  return {State::done, end + 2};
}

ProxyProtocolReader::Result ProxyProtocolReader::read_version2(std::string_view bytes) {
  if (bytes.size() > kSignature.size()) {
    unsigned version = byte_at(bytes, 12) >> 4;
    if (version != 2) return fail("unknown PROXY protocol version: " + std::to_string(version));
  }
  if (bytes.size() < kVersion2Head) return {State::need_more, 0};
  size_t length = length_at(bytes, 14);
  size_t whole = kVersion2Head + length;
  if (whole > kLimit) return fail("header is too large");
  if (bytes.size() < whole) return {State::need_more, 0};
  unsigned command = byte_at(bytes, 12) & 0x0f;
  unsigned family = byte_at(bytes, 13) >> 4;
  unsigned transport = byte_at(bytes, 13) & 0x0f;
  bool stream = transport == 1;
  bool ip = family == 1 || family == 2;
  if (command != 1 || !stream || !ip) return {State::done, whole};
  size_t host = family == 1 ? 4 : 16;
  std::string_view body = bytes.substr(kVersion2Head, length);
  if (body.size() < 2 * host + 4)
    return fail("address block of PROXY protocol header is too short");
  header_.has_addresses = true;
  header_.source_port = static_cast<uint16_t>(length_at(body, 2 * host));
  header_.destination_port = static_cast<uint16_t>(length_at(body, 2 * host + 2));
  header_.source = Address::from_binary(body.substr(0, host), header_.source_port);
  header_.destination = Address::from_binary(body.substr(host, host), header_.destination_port);
  header_.source_text = header_.source.host_text();
  header_.destination_text = header_.destination.host_text();
  header_.tlvs = body.substr(2 * host + 4);
  return {State::done, whole};
}

std::optional<TlvSelector> TlvSelector::parse(std::string_view name) {
  TlvSelector selector;
  if (name == "ssl_verify") {
    selector.ssl_verify = true;
    return selector;
  }
  selector.inside_ssl = name.starts_with("ssl_");
  auto type = selector.inside_ssl ? type_of(name.substr(4), kSslTlvs) : type_of(name, kTlvs);
  if (!type) return std::nullopt;
  selector.type = *type;
  return selector;
}

TlvValue find_tlv(std::string_view tlvs, const TlvSelector& selector) {
  if (!selector.inside_ssl && !selector.ssl_verify) return find_type(tlvs, selector.type);
  TlvValue ssl = find_type(tlvs, kTlvSsl);
  if (ssl.state != TlvValue::State::found) return ssl;
  if (ssl.value.size() < kSslHead) return {TlvValue::State::broken, {}};
  if (!selector.ssl_verify)
    return find_type(std::string_view(ssl.value).substr(kSslHead), selector.type);
  uint32_t verify = 0;
  for (size_t i = 1; i < kSslHead; ++i) verify = verify << 8 | byte_at(ssl.value, i);
  return {TlvValue::State::found, std::to_string(verify)};
}

std::string write_proxy_header_v1(Address source, Address destination) {
  if (!unite_families(source, destination)) return "PROXY UNKNOWN\r\n";
  std::string text = source.family() == AF_INET ? "PROXY TCP4 " : "PROXY TCP6 ";
  text += source.host_text() + " " + destination.host_text() + " ";
  text += std::to_string(source.port()) + " " + std::to_string(destination.port()) + "\r\n";
  return text;
}

std::string write_proxy_header_v2(Address source, Address destination) {
  std::string text(kSignature);
  text.push_back(0x21);
  if (!unite_families(source, destination)) {
    text.append(3, '\0');
    return text;
  }
  text.push_back(source.family() == AF_INET ? 0x11 : 0x21);
  append_number(text, 2 * source.binary().size() + 4);
  text += source.binary();
  text += destination.binary();
  append_number(text, source.port());
  append_number(text, destination.port());
  return text;
}

}  // namespace weir::net
