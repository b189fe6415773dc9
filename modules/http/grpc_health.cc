#include "modules/http/grpc_health.h"

#include <cstddef>
#include <cstdint>

namespace weir::http {
namespace {

// In front of a message: is it compressed, and its length.
constexpr size_t kGrpcPrefix = 5;

// One field of a message of protocol buffers: a number, or a length and so many bytes.
bool take_number(std::string_view& text, uint64_t& number) {
  number = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (text.empty()) return false;
    const auto byte = static_cast<unsigned char>(text[0]);
    text.remove_prefix(1);
    number |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Of the value behind a tag, as its wire type says. False: it is not whole.
bool skip_value(std::string_view& text, unsigned wire_type) {
  uint64_t size = 0;
  switch (wire_type) {
    case 0:
      return take_number(text, size);
    case 1:
      size = 8;
      break;
    case 2:
      if (!take_number(text, size)) return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > text.size()) return false;
  text.remove_prefix(size);
  return true;
}

void put_number(std::string& text, uint64_t number) {
  for (; number >= 0x80; number >>= 7) text += static_cast<char>(number | 0x80);
  text += static_cast<char>(number);
}

}  // namespace

std::string grpc_health_request(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';  // field 1, a text
    put_number(message, service.size());
    message += service;
  }
  const auto size = static_cast<uint32_t>(message.size());
  std::string framed(1, '\0');  // not compressed
  for (int shift = 24; shift >= 0; shift -= 8) framed += static_cast<char>(size >> shift);
  return framed + message;
}

int grpc_serving_status(std::string_view body) {
  if (body.size() < kGrpcPrefix || body[0] != 0) return -1;
  uint32_t size = 0;
  for (size_t i = 1; i < kGrpcPrefix; ++i) size = size << 8 | static_cast<unsigned char>(body[i]);
  body.remove_prefix(kGrpcPrefix);
  if (size > body.size()) return -1;
  body = body.substr(0, size);
  uint64_t status = 0;
  while (!body.empty()) {
    uint64_t tag = 0;
    if (!take_number(body, tag)) return -1;
    if (tag == (1u << 3)) {
      if (!take_number(body, status)) return -1;
    } else if (!skip_value(body, static_cast<unsigned>(tag & 7))) {
      return -1;
    }
  }
  return status <= INT32_MAX ? static_cast<int>(status) : -1;
}

}  // namespace weir::http
