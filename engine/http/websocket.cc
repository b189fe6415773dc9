#include "engine/http/websocket.h"

#include <sys/random.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace weir::http {
namespace {

using Digest = std::array<uint8_t, 20>;

uint32_t load(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

// FIPS 180-4 section 6.1.2. Good enough for what RFC 6455 uses it for: to see that a peer speaks
// WebSocket.
void add_block(std::array<uint32_t, 5>& state, const uint8_t* block) {
  uint32_t words[80];
  for (int i = 0; i < 16; ++i) words[i] = load(block + 4 * i);
  for (int i = 16; i < 80; ++i) {
    words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
  }
  auto [a, b, c, d, e] = state;
  for (int i = 0; i < 80; ++i) {
    const uint32_t f = i < 20   ? ((b & c) | (~b & d))
                       : i < 40 ? (b ^ c ^ d)
                       : i < 60 ? ((b & c) | (b & d) | (c & d))
                                : (b ^ c ^ d);
    constexpr uint32_t kConstants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    const uint32_t next = std::rotl(a, 5) + f + e + kConstants[i / 20] + words[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

Digest sha1(std::string text) {
  const uint64_t bits = text.size() * 8;
  text.push_back(static_cast<char>(0x80));
  while (text.size() % 64 != 56) text.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8) text.push_back(static_cast<char>(bits >> shift));
  std::array<uint32_t, 5> state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t at = 0; at < text.size(); at += 64) {
    add_block(state, reinterpret_cast<const uint8_t*>(text.data()) + at);
  }
  Digest digest;
  for (size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

std::string base64(const uint8_t* data, size_t size) {
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < size; i += 3) {
    const size_t left = size - i;
    const uint32_t group = uint32_t{data[i]} << 16 | (left > 1 ? uint32_t{data[i + 1]} << 8 : 0) |
                           (left > 2 ? data[i + 2] : 0);
    text.push_back(kLetters[group >> 18 & 63]);
    text.push_back(kLetters[group >> 12 & 63]);
    text.push_back(left > 1 ? kLetters[group >> 6 & 63] : '=');
    text.push_back(left > 2 ? kLetters[group & 63] : '=');
  }
  return text;
}

}  // namespace

std::string make_websocket_key() {
  uint8_t bytes[16] = {};
  size_t have = 0;
  while (have < sizeof bytes) {
    const ssize_t got = ::getrandom(bytes + have, sizeof bytes - have, 0);
    if (got <= 0) continue;  // interrupted
    have += static_cast<size_t>(got);
  }
  return base64(bytes, sizeof bytes);
}

std::string websocket_accept(std::string_view key) {
  const Digest digest = sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  return base64(digest.data(), digest.size());
}

}  // namespace weir::http
