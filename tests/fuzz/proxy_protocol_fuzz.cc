// The PROXY protocol reader. Checked: that a header in pieces is read as the same header in one
// piece, its limits, that whatever a type-length-value list holds can be asked for, and that what
// we write ourselves is read back.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

#include "engine/net/proxy_protocol.h"

using namespace weir::net;

namespace {

void require(bool condition, std::source_location at = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "line %u\n", at.line());
  std::abort();
}

// A copy of exactly this size: reading past its end is seen.
ProxyProtocolReader::Result read(ProxyProtocolReader& reader, std::string_view text) {
  const std::unique_ptr<char[]> copy(new char[text.size() + 1]);
  text.copy(copy.get(), text.size());
  const auto result = reader.read({copy.get(), text.size()});
  require(result.consumed <= text.size());
  return result;
}

void ask_for_values(const std::string& tlvs) {
  static constexpr std::string_view kNames[] = {
      "alpn",       "authority",   "unique_id",   "netns",      "ssl",  "ssl_version", "ssl_cn",
      "ssl_cipher", "ssl_sig_alg", "ssl_key_alg", "ssl_verify", "0x01", "ssl_0x21",    "0xff"};
  for (const std::string_view name : kNames) {
    const auto selector = TlvSelector::parse(name);
    require(selector.has_value());
    const TlvValue value = find_tlv(tlvs, *selector);
    require(value.state == TlvValue::State::found || value.value.empty());
    require(selector->ssl_verify || value.value.size() <= tlvs.size());
  }
}

void check_round_trip(const ProxyHeader& header) {
  if (header.source.empty() || header.destination.empty()) return;
  for (const std::string& text : {write_proxy_header_v1(header.source, header.destination),
                                  write_proxy_header_v2(header.source, header.destination)}) {
    ProxyProtocolReader again;
    const auto result = read(again, text);
    require(result.state == ProxyProtocolReader::State::done && result.consumed == text.size());
    if (!again.header().has_addresses) continue;
    require(again.header().source == header.source);
    require(again.header().destination == header.destination);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)TlvSelector::parse(text);
  ProxyProtocolReader whole;
  const auto result = read(whole, text);
  if (result.state == ProxyProtocolReader::State::need_more) {
    require(size <= ProxyProtocolReader::kLimit);
  }
  if (result.state == ProxyProtocolReader::State::failed) require(!whole.error().empty());

  // Byte by byte, as far as the whole went.
  for (size_t count = 1; count <= size && count <= 600; ++count) {
    ProxyProtocolReader pieces;
    const auto part = read(pieces, text.substr(0, count));
    if (part.state == ProxyProtocolReader::State::need_more) continue;
    require(part.state == result.state);
    if (part.state == ProxyProtocolReader::State::done) {
      require(part.consumed == result.consumed);
      require(pieces.header().source_text == whole.header().source_text);
      require(pieces.header().tlvs == whole.header().tlvs);
    }
    break;
  }
  if (result.state != ProxyProtocolReader::State::done) return 0;
  require(result.consumed > 0 && result.consumed <= ProxyProtocolReader::kLimit);
  ask_for_values(whole.header().tlvs);
  check_round_trip(whole.header());
  return 0;
}
