#include "engine/net/proxy_protocol.h"

#include <catch2/catch.hpp>
#include <vector>

using weir::net::Address;
using weir::net::find_tlv;
using weir::net::ProxyProtocolReader;
using weir::net::TlvSelector;
using weir::net::TlvValue;
using State = weir::net::ProxyProtocolReader::State;

namespace {

// Feeds `input` as it would come in pieces of `step` bytes; 0: all at once.
ProxyProtocolReader::Result feed(ProxyProtocolReader& reader, std::string_view input, size_t step) {
  if (step == 0) return reader.read(input);
  ProxyProtocolReader::Result result{State::need_more};
  for (size_t size = step; result.state == State::need_more; size += step) {
    result = reader.read(input.substr(0, size));
    if (size >= input.size()) break;
  }
  return result;
}

std::string version2(unsigned command, unsigned family, std::string_view payload,
                     size_t length = std::string::npos) {
  if (length == std::string::npos) length = payload.size();
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header.push_back(static_cast<char>(command));
  header.push_back(static_cast<char>(family));
  header.push_back(static_cast<char>(length >> 8));
  header.push_back(static_cast<char>(length & 0xff));
  return header + std::string(payload);
}

std::string tlv(unsigned type, std::string_view value) {
  std::string text(1, static_cast<char>(type));
  text.push_back(static_cast<char>(value.size() >> 8));
  text.push_back(static_cast<char>(value.size() & 0xff));
  return text + std::string(value);
}

const std::string kAddresses4("\1\2\3\4\5\6\7\10\4\127\10\256", 12);

std::string text_of(std::string_view tlvs, std::string_view name) {
  auto selector = TlvSelector::parse(name);
  if (!selector) return "(unknown)";
  TlvValue value = find_tlv(tlvs, *selector);
  if (value.state == TlvValue::State::broken) return "(broken)";
  return value.state == TlvValue::State::found ? value.value : "(absent)";
}

}  // namespace

TEST_CASE("PROXY version 1, as nginx reads it, in pieces of any size", "[proxy_protocol]") {
  struct Row {
    std::string line;
    const char* expected;  // "source sport destination dport", "-" without addresses, null: broken
  };
  const Row rows[] = {
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n", "1.2.3.4 1111 5.6.7.8 2222"},
      {"PROXY TCP6 ::2 ::3 1111 2222\r\n", "::2 1111 ::3 2222"},
      {"PROXY TCP6 2001:DB8::1 ::FFFF:1.2.3.4 1111 2222\r\n",
       "2001:DB8::1 1111 ::FFFF:1.2.3.4 2222"},
      {"PROXY TCP4 ::1 ::2 1111 2222\r\n", "::1 1111 ::2 2222"},
      {"PROXY TCP4 1.2.3.400 5.6.7.8 1111 2222\r\n", "1.2.3.400 1111 5.6.7.8 2222"},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4 0 5.6.7.8 0"},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 0001 02\r\n", "1.2.3.4 1 5.6.7.8 2"},
      {"PROXY TCP4  5.6.7.8 1111 2222\r\n", " 1111 5.6.7.8 2222"},
      {"PROXY UNKNOWN\r\n", "-"},
      {"PROXY UNKNOWN ffff:f...f:ffff 1 2 junk\r\n", "-"},
      {"PROXY UNKNOWNxyz\r\n", "-"},
      {"PROXY UNKNOWN " + std::string(200, 'x') + "\r\n", "-"},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\nGET / HTTP/1.0\r\n", nullptr},
      {"PROXY  TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n", nullptr},
      {"PROXY UDP4 1.2.3.4 5.6.7.8 1111 2222\r\n", nullptr},
      {"PROXY TCP5 1.2.3.4 5.6.7.8 1111 2222\r\n", nullptr},
      {"PROXY TCP4 1.2.3.x 5.6.7.8 1111 2222\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2222\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999999999999\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 x 2222\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8  2222\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222 \r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222 junk\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\rX\r\n", nullptr},
      {"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222" + std::string(80, ' ') + "\r\n", nullptr},
      {"PROXY TCP4 " + std::string(5000, '1'), nullptr},
      {"PROXY UNKNOWN " + std::string(5000, '1'), nullptr},
      {"proxy TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n", nullptr},
      {"GET / HTTP/1.1\r\n", nullptr},
      {"\r\nGET / HTTP/1.1\r\n", nullptr},
  };
  for (size_t step : {0, 1, 2, 3, 7}) {
    for (const Row& row : rows) {
      INFO(row.line << " by " << step);
      ProxyProtocolReader reader;
      auto result = feed(reader, row.line, step);
      if (row.expected == nullptr) {
        CHECK(result.state == State::failed);
        CHECK(reader.error().starts_with("broken header: \""));
        CHECK(reader.error().size() < 130);
        continue;
      }
      REQUIRE(result.state == State::done);
      CHECK(result.consumed == row.line.size());
      auto& header = reader.header();
      std::string text = "-";
      if (header.has_addresses) {
        text = header.source_text + " " + std::to_string(header.source_port) + " " +
               header.destination_text + " " + std::to_string(header.destination_port);
      }
      CHECK(text == row.expected);
    }
  }
}

TEST_CASE("what follows a PROXY header is left", "[proxy_protocol]") {
  ProxyProtocolReader reader;
  auto result = reader.read("PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\nGET / HTTP/1.1\r\n");
  CHECK(result.state == State::done);
  CHECK(result.consumed == 38);
  CHECK(reader.header().source == *Address::parse("1.2.3.4:1111"));
  CHECK(reader.header().destination == *Address::parse("5.6.7.8:2222"));
  ProxyProtocolReader odd;
  CHECK(odd.read("PROXY TCP4 1.2.3.400 5.6.7.8 1111 2222\r\n").state == State::done);
  CHECK(odd.header().source.empty());
  ProxyProtocolReader bad;
  CHECK(bad.read("GET /x HTTP/1.0\r\n\r\n").state == State::failed);
  CHECK(bad.error() == "broken header: \"GET /x HTTP/1.0\"");
}

TEST_CASE("PROXY version 2, in pieces of any size", "[proxy_protocol]") {
  std::string addresses6 = std::string(Address::parse("::2")->binary()) +
                           std::string(Address::parse("2001:db8::1")->binary()) +
                           std::string("\4\127\10\256", 4);
  struct Row {
    std::string header;
    const char* expected;  // as above; else the error
    bool fails = false;
  };
  const Row rows[] = {
      {version2(0x21, 0x11, kAddresses4), "1.2.3.4 1111 5.6.7.8 2222"},
      {version2(0x21, 0x21, addresses6), "::2 1111 2001:db8::1 2222"},
      {version2(0x21, 0x11, kAddresses4 + tlv(4, std::string(4096 - 31, 'x'))),
       "1.2.3.4 1111 5.6.7.8 2222"},
      {version2(0x21, 0x11, kAddresses4 + "\4\xff\xff"), "1.2.3.4 1111 5.6.7.8 2222"},
      {version2(0x20, 0x00, ""), "-"},
      {version2(0x20, 0x11, kAddresses4), "-"},
      {version2(0x20, 0x00, tlv(1, "h2")), "-"},
      {version2(0x21, 0x00, ""), "-"},
      {version2(0x21, 0x00, "abc"), "-"},
      {version2(0x21, 0x12, kAddresses4), "-"},
      {version2(0x21, 0x31, std::string(216, '/')), "-"},
      {version2(0x22, 0x11, kAddresses4), "-"},
      {version2(0x21, 0x41, kAddresses4), "-"},
      {version2(0x21, 0x13, kAddresses4), "-"},
      {version2(0x31, 0x11, kAddresses4), "unknown PROXY protocol version: 3", true},
      {version2(0x11, 0x11, kAddresses4), "unknown PROXY protocol version: 1", true},
      {version2(0x21, 0x11, kAddresses4.substr(0, 8)),
       "address block of PROXY protocol header is too short", true},
      {version2(0x21, 0x21, kAddresses4), "address block of PROXY protocol header is too short",
       true},
      {version2(0x21, 0x11, kAddresses4 + tlv(4, std::string(4096 - 30, 'x'))),
       "header is too large", true},
      {version2(0x21, 0x11, "", 65535), "header is too large", true},
      {std::string("\r\n\r\n\0\r\nQUIX\n", 12), "broken header: \"\"", true},
  };
  for (size_t step : {0, 1, 2, 3, 7}) {
    for (const Row& row : rows) {
      INFO(row.expected << " by " << step);
      ProxyProtocolReader reader;
      auto result = feed(reader, row.header, step);
      if (row.fails) {
        CHECK(result.state == State::failed);
        CHECK(reader.error() == row.expected);
        continue;
      }
      REQUIRE(result.state == State::done);
      CHECK(result.consumed == row.header.size());
      auto& header = reader.header();
      std::string text = "-";
      if (header.has_addresses) {
        text = header.source_text + " " + std::to_string(header.source_port) + " " +
               header.destination_text + " " + std::to_string(header.destination_port);
      }
      CHECK(text == row.expected);
    }
  }
}

TEST_CASE("an unfinished header asks for more", "[proxy_protocol]") {
  for (const std::string& whole :
       {std::string("PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n"), std::string("PROXY UNKNOWN\r\n"),
        version2(0x21, 0x11, kAddresses4 + tlv(1, "h2"))}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      ProxyProtocolReader reader;
      CHECK(reader.read(whole.substr(0, size)).state == State::need_more);
    }
  }
}

TEST_CASE("TLVs by name and number, inside ssl too", "[proxy_protocol]") {
  std::string ssl = std::string("\1\0\0\0\0", 5) + tlv(0x21, "TLSv1.3") + tlv(0x22, "client") +
                    tlv(0x23, "AES") + tlv(0x24, "RSA-SHA256") + tlv(0x25, "RSA2048");
  std::string tlvs = tlv(1, "h2") + tlv(2, "example.com") + tlv(5, "id") + tlv(0x30, "ns") +
                     tlv(0xe0, "") + tlv(0x20, ssl);
  CHECK(text_of(tlvs, "alpn") == "h2");
  CHECK(text_of(tlvs, "0x01") == "h2");
  CHECK(text_of(tlvs, "0x1") == "h2");
  CHECK(text_of(tlvs, "authority") == "example.com");
  CHECK(text_of(tlvs, "unique_id") == "id");
  CHECK(text_of(tlvs, "netns") == "ns");
  CHECK(text_of(tlvs, "0xE0").empty());
  CHECK(text_of(tlvs, "0xe1") == "(absent)");
  CHECK(text_of(tlvs, "ssl") == ssl);
  CHECK(text_of(tlvs, "ssl_version") == "TLSv1.3");
  CHECK(text_of(tlvs, "ssl_cn") == "client");
  CHECK(text_of(tlvs, "ssl_cipher") == "AES");
  CHECK(text_of(tlvs, "ssl_sig_alg") == "RSA-SHA256");
  CHECK(text_of(tlvs, "ssl_key_alg") == "RSA2048");
  CHECK(text_of(tlvs, "ssl_0x22") == "client");
  CHECK(text_of(tlvs, "ssl_verify") == "0");
  CHECK(text_of(tlv(0x20, std::string("\1\0\1\0\2", 5)), "ssl_verify") == "65538");
  CHECK(text_of(tlvs, "ssl_0x99") == "(absent)");
  CHECK(text_of("", "ssl_version") == "(absent)");
  CHECK(text_of("", "ssl_verify") == "(absent)");
  for (const char* name : {"", "nothing", "0x", "0x100", "0xzz", "ssl_", "ssl_nothing", "1"}) {
    CHECK(text_of(tlvs, name) == "(unknown)");
  }
  CHECK(text_of(tlv(1, "h2") + "\4\xff\xff", "alpn") == "h2");
  CHECK(text_of(tlv(1, "h2") + "\4\xff\xff", "netns") == "(broken)");
  CHECK(text_of("\4", "netns") == "(broken)");
  CHECK(text_of(tlv(0x20, "abc"), "ssl_verify") == "(broken)");
  CHECK(text_of(tlv(0x20, std::string("\1\0\0\0\0\x21\xff", 7)), "ssl_version") == "(broken)");
}

TEST_CASE("headers that are written are read back", "[proxy_protocol]") {
  for (auto [from, to] : std::vector<std::pair<const char*, const char*>>{
           {"1.2.3.4:1111", "5.6.7.8:2222"}, {"[::1]:1", "[2001:db8::1]:65535"}}) {
    Address source = *Address::parse(from);
    Address destination = *Address::parse(to);
    for (const std::string& header : {weir::net::write_proxy_header_v1(source, destination),
                                      weir::net::write_proxy_header_v2(source, destination)}) {
      ProxyProtocolReader reader;
      auto result = reader.read(header);
      REQUIRE(result.state == State::done);
      CHECK(result.consumed == header.size());
      CHECK(reader.header().source == source);
      CHECK(reader.header().destination == destination);
    }
  }
  CHECK(weir::net::write_proxy_header_v1(*Address::parse("1.2.3.4:1"),
                                         *Address::parse("5.6.7.8:2")) ==
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n");
  CHECK(weir::net::write_proxy_header_v1(*Address::parse("[2001:db8::9]:1"),
                                         *Address::parse("5.6.7.8:2")) ==
        "PROXY TCP6 2001:db8::9 ::ffff:5.6.7.8 1 2\r\n");
  {
    ProxyProtocolReader mixed;
    REQUIRE(mixed
                .read(weir::net::write_proxy_header_v2(*Address::parse("1.2.3.4:1"),
                                                       *Address::parse("[::1]:2")))
                .state == State::done);
    CHECK(mixed.header().source.text() == "[::ffff:1.2.3.4]:1");
    CHECK(mixed.header().destination.text() == "[::1]:2");
  }
  Address path = *Address::parse("unix:/x");
  CHECK(weir::net::write_proxy_header_v1(path, path) == "PROXY UNKNOWN\r\n");
  ProxyProtocolReader reader;
  CHECK(reader.read(weir::net::write_proxy_header_v2(path, path)).state == State::done);
  CHECK_FALSE(reader.header().has_addresses);
}
