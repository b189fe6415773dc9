#include "engine/http/h2/field_writer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/http/framing.h"
#include "engine/http/h2/multiplexer.h"

namespace weir::http::h2 {
namespace {

constexpr size_t kTextSize = 4096;

bool is_capital(char c) {
  return c >= 'A' && c <= 'Z';
}

// Eight bytes at once: the high bit of a sum of a byte's other bits tells which side it is of.
bool has_capital_in_word(const char* at) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHigh = kOnes << 7;
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  const uint64_t low = word & ~kHigh;
  return ((low + kOnes * (0x80 - 'A')) & ~(low + kOnes * (0x7f - 'Z')) & ~word & kHigh) != 0;
}

bool has_capital(std::string_view name) {
  if (name.size() < sizeof(uint64_t)) return std::any_of(name.begin(), name.end(), is_capital);
  const char* const last = name.data() + name.size() - sizeof(uint64_t);
  for (const char* at = name.data(); at < last; at += sizeof(uint64_t)) {
    if (has_capital_in_word(at)) return true;
  }
  return has_capital_in_word(last);  // overlaps the one before
}

}  // namespace

FieldWriter& FieldWriter::of_thread() {
  thread_local FieldWriter writer;
  return writer;
}

void FieldWriter::clear() {
  fields_.clear();
  long_texts_.clear();
  text_.clear();
  text_.reserve(kTextSize);
}

void FieldWriter::copy_all() {
  for (nghttp2_nv& field : fields_) {
    field.flags &=
        static_cast<uint8_t>(~(NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE));
  }
}

void FieldWriter::add(std::string_view name, std::string_view value, bool secret) {
  nghttp2_nv field;
  field.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  field.namelen = name.size();
  field.value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  field.valuelen = value.size();
  field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
  if (secret) field.flags |= NGHTTP2_NV_FLAG_NO_INDEX;
  fields_.push_back(field);
}

// Room for text that stays where it is until clear(): earlier fields point into it.
char* FieldWriter::room(size_t size) {
  if (text_.size() + size > text_.capacity()) {
    return long_texts_.emplace_front(size, '\0').data();
  }
  const size_t from = text_.size();
  text_.resize(from + size);
  return text_.data() + from;
}

void FieldWriter::add_number(std::string_view name, uint64_t value) {
  char digits[20];
  size_t from = sizeof digits;
  do {
    digits[--from] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  const size_t size = sizeof digits - from;
  char* to = room(size);
  std::copy(digits + from, digits + sizeof digits, to);
  add(name, std::string_view(to, size));
}

std::string_view FieldWriter::lower(std::string_view name) {
  if (!has_capital(name)) return name;
  char* to = room(name.size());
  std::transform(name.begin(), name.end(), to,
                 [](char c) { return is_capital(c) ? static_cast<char>(c | 0x20) : c; });
  return {to, name.size()};
}

void FieldWriter::add(const Header& header) {
  switch (header.id) {
    case HeaderId::te:
      if (!equals_ignoring_case(header.value, "trailers")) return;
      break;
    case HeaderId::trailer:
      break;
    case HeaderId::host:
    case HeaderId::http2_settings:
      return;
    default:
      if (is_hop_by_hop(header.id)) return;
  }
  const bool secret =
      header.secret || header.id == HeaderId::authorization || header.id == HeaderId::set_cookie;
  // What HTTP/1 or a configuration brought may not be one for HTTP/2 (RFC 9113 section 8.2.1).
  const std::string_view name = lower(header.name);
  if (header.id == HeaderId::other && judge_name(name, true) == NameVerdict::invalid) return;
  add(name, without_outer_blanks(header.value), secret);
}

}  // namespace weir::http::h2
