#include "engine/http/message.h"

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

namespace weir::http {
namespace {

// Names are compared in pieces of eight bytes that overlap, with bit 0x20 set: of the characters
// that a field name may have, only a letter's case depends on it. Nineteen bytes at most.
struct Folded {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t middle = 0;
  constexpr bool operator==(const Folded&) const = default;
};

template <class Word>
constexpr uint64_t load(const char* at) {
  Word word = 0;
  if (std::is_constant_evaluated()) {
    for (size_t i = 0; i < sizeof(Word); ++i) {
      const size_t place = std::endian::native == std::endian::little ? i : sizeof(Word) - 1 - i;
      word = static_cast<Word>(word | Word{static_cast<unsigned char>(at[i])} << (8 * place));
    }
  } else {
    std::memcpy(&word, at, sizeof(Word));
  }
  return word;
}

constexpr Folded fold(std::string_view name) {
  const char* begin = name.data();
  const char* end = begin + name.size();
  Folded folded;
  if (name.size() >= 8) {
    folded.first = load<uint64_t>(begin);
    folded.last = load<uint64_t>(end - 8);
    if (name.size() > 16) folded.middle = load<uint64_t>(begin + 8);
  } else if (name.size() >= 4) {
    folded.first = load<uint32_t>(begin);
    folded.last = load<uint32_t>(end - 4);
  } else {
    folded.first = static_cast<unsigned char>(begin[0]);
    folded.last = load<uint16_t>(end - 2);
  }
  constexpr uint64_t kCase = 0x2020202020202020;
  folded.first |= kCase;
  folded.last |= kCase;
  folded.middle |= kCase;
  return folded;
}

struct Known {
  constexpr Known(std::string_view name, HeaderId id) : name(name), id(id), folded(fold(name)) {}
  std::string_view name;
  HeaderId id;
  Folded folded;
};

// Sorted by length: kFirst[n] is where the names of n bytes begin. At most seven share a length.
constexpr Known kKnown[] = {
    {"te", HeaderId::te},
    {"age", HeaderId::age},
    {"via", HeaderId::via},
    {"date", HeaderId::date},
    {"etag", HeaderId::etag},
    {"host", HeaderId::host},
    {"link", HeaderId::link},
    {"vary", HeaderId::vary},
    {"range", HeaderId::range},
    {"accept", HeaderId::accept},
    {"cookie", HeaderId::cookie},
    {"expect", HeaderId::expect},
    {"server", HeaderId::server},
    {"status", HeaderId::status},
    {"origin", HeaderId::origin},
    {"pragma", HeaderId::pragma},
    {"expires", HeaderId::expires},
    {"referer", HeaderId::referer},
    {"refresh", HeaderId::refresh},
    {"trailer", HeaderId::trailer},
    {"upgrade", HeaderId::upgrade},
    {"if-match", HeaderId::if_match},
    {"if-range", HeaderId::if_range},
    {"location", HeaderId::location},
    {"x-real-ip", HeaderId::x_real_ip},
    {"connection", HeaderId::connection},
    {"keep-alive", HeaderId::keep_alive},
    {"set-cookie", HeaderId::set_cookie},
    {"user-agent", HeaderId::user_agent},
    {"early-data", HeaderId::early_data},
    {"content-type", HeaderId::content_type},
    {"accept-ranges", HeaderId::accept_ranges},
    {"authorization", HeaderId::authorization},
    {"cache-control", HeaderId::cache_control},
    {"content-range", HeaderId::content_range},
    {"if-none-match", HeaderId::if_none_match},
    {"last-modified", HeaderId::last_modified},
    {"content-length", HeaderId::content_length},
    {"http2-settings", HeaderId::http2_settings},
    {"accept-encoding", HeaderId::accept_encoding},
    {"x-accel-charset", HeaderId::x_accel_charset},
    {"x-accel-expires", HeaderId::x_accel_expires},
    {"x-forwarded-for", HeaderId::x_forwarded_for},
    {"content-encoding", HeaderId::content_encoding},
    {"proxy-connection", HeaderId::proxy_connection},
    {"www-authenticate", HeaderId::www_authenticate},
    {"x-accel-redirect", HeaderId::x_accel_redirect},
    {"if-modified-since", HeaderId::if_modified_since},
    {"transfer-encoding", HeaderId::transfer_encoding},
    {"x-accel-buffering", HeaderId::x_accel_buffering},
    {"x-forwarded-proto", HeaderId::x_forwarded_proto},
    {"x-accel-limit-rate", HeaderId::x_accel_limit_rate},
    {"content-disposition", HeaderId::content_disposition},
    {"if-unmodified-since", HeaderId::if_unmodified_since},
};
constexpr size_t kLongest = 19;

constexpr std::array<uint8_t, kLongest + 2> make_first() {
  std::array<uint8_t, kLongest + 2> first{};
  size_t at = 0;
  for (size_t length = 0; length < first.size(); ++length) {
    while (at < std::size(kKnown) && kKnown[at].name.size() < length) ++at;
    first[length] = static_cast<uint8_t>(at);
  }
  return first;
}
constexpr auto kFirst = make_first();
static_assert(kFirst[kLongest + 1] == std::size(kKnown));
static_assert(static_cast<int>(HeaderId::content_disposition) < 62);

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

}  // namespace

HeaderId find_header_id(std::string_view name) {
  if (name.size() > kLongest || name.size() < 2) return HeaderId::other;
  const Folded folded = fold(name);
  for (size_t i = kFirst[name.size()]; i < kFirst[name.size() + 1]; ++i) {
    if (kKnown[i].folded == folded) return kKnown[i].id;
  }
  return HeaderId::other;
}

void HeaderList::reserve(Arena& arena, size_t count) {
  if (count <= capacity_) return;
  auto* grown = static_cast<Header*>(arena.allocate(count * sizeof(Header), alignof(Header)));
  for (size_t i = 0; i < size_; ++i) new (grown + i) Header(fields_[i]);
  fields_ = grown;
  capacity_ = static_cast<uint32_t>(count);
}

const Header* HeaderList::find_first(HeaderId id) const {
  for (const Header& header : *this) {
    if (header.id == id) return &header;
  }
  return nullptr;
}

const Header* HeaderList::find(std::string_view name) const {
  HeaderId id = find_header_id(name);
  if (id != HeaderId::other) return find(id);
  for (const Header& header : *this) {
    if (header.id == HeaderId::other && equals_ignoring_case(header.name, name)) return &header;
  }
  return nullptr;
}

size_t HeaderList::remove(HeaderId id) {
  if (!has(id)) return 0;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < size_; ++i) {
    if (fields_[i].id != id) fields_[kept++] = fields_[i];
  }
  size_t removed = size_ - kept;
  size_ = kept;
  seen_ &= ~(uint64_t{1} << static_cast<unsigned>(id));
  return removed;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  if (a == b) return true;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string_view lower_case(Arena& arena, std::string_view text) {
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') {
      char* copy = arena.text(text.size());
      for (size_t i = 0; i < text.size(); ++i) copy[i] = lower(text[i]);
      return {copy, text.size()};
    }
  }
  return text;
}

Method find_method(std::string_view name) {
  switch (name.size()) {
    case 3:
      if (name == "GET") return Method::get;
      if (name == "PUT") return Method::put;
      break;
    case 4:
      if (name == "POST") return Method::post;
      if (name == "HEAD") return Method::head;
      if (name == "COPY") return Method::copy;
      if (name == "MOVE") return Method::move;
      if (name == "LOCK") return Method::lock;
      break;
    case 5:
      if (name == "PATCH") return Method::patch;
      if (name == "MKCOL") return Method::mkcol;
      if (name == "TRACE") return Method::trace;
      break;
    case 6:
      if (name == "DELETE") return Method::delete_;
      if (name == "UNLOCK") return Method::unlock;
      break;
    case 7:
      if (name == "OPTIONS") return Method::options;
      if (name == "CONNECT") return Method::connect;
      break;
    case 8:
      if (name == "PROPFIND") return Method::propfind;
      break;
    case 9:
      if (name == "PROPPATCH") return Method::proppatch;
      break;
    default:
      break;
  }
  return Method::unknown;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Moved Temporarily";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Time-out";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Request Entity Too Large";
    case 414:
      return "Request-URI Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Requested Range Not Satisfiable";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Temporarily Unavailable";
    case 504:
      return "Gateway Time-out";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return {};
  }
}

}  // namespace weir::http
