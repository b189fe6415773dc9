#include "engine/http/framing.h"

#include <array>
#include <cstring>

namespace weir::http {
namespace {

// Text for a log line: words, quoted pieces, words.
const char* join(Arena& arena, std::initializer_list<std::string_view> pieces) {
  ArenaText text(arena, 160);
  for (std::string_view piece : pieces) text.append(piece.substr(0, 1024));
  text.push_back('\0');
  return text.view().data();
}

bool contains_ignoring_case(std::string_view text, std::string_view part) {
  for (size_t at = 0; at + part.size() <= text.size(); ++at) {
    if (equals_ignoring_case(text.substr(at, part.size()), part)) return true;
  }
  return false;
}

BodyVerdict refuse(int status, const char* reason) {
  BodyVerdict verdict;
  verdict.status = status;
  verdict.reason = reason;
  return verdict;
}

#define WHILE_READING_HEADERS " while reading client request headers"
#define WHILE_READING_RESPONSE " while reading response header from upstream"

BodyVerdict refuse_at(const Header& field, int status, const char* reason) {
  BodyVerdict verdict = refuse(status, reason);
  verdict.until = field.value.data() + field.value.size();
  return verdict;
}

// The first repeated field of those that may come once, as nginx reports it.
BodyVerdict find_repeated(Arena& arena, const MessageHead& head) {
  uint64_t seen = 0;
  for (const Header& header : head.headers) {
    const uint64_t mask = once_bit(header.id);
    if ((seen & mask) == 0) {
      seen |= mask;
      continue;
    }
    const Header* first = head.headers.find(header.id);
    std::string_view what = header.id == HeaderId::host ? "client sent duplicate host header: \""
                                                        : "client sent duplicate header line: \"";
    return refuse_at(header, 400,
                     join(arena, {what, header.name, ": ", header.value, "\", previous value: \"",
                                  first->name, ": ", first->value, "\"" WHILE_READING_HEADERS}));
  }
  return {};
}

BodyVerdict judge_request_length(Arena& arena, const MessageHead& head) {
  BodyVerdict verdict;
  const Header* length = head.headers.find(HeaderId::content_length);
  const Header* coding = head.headers.find(HeaderId::transfer_encoding);
  if (length != nullptr) {
    auto bytes = parse_content_length(length->value);
    if (!bytes) {
      return refuse(400, "client sent invalid \"Content-Length\" header" WHILE_READING_HEADERS);
    }
    verdict.body.kind = *bytes == 0 ? BodyLength::Kind::none : BodyLength::Kind::exact;
    verdict.body.bytes = *bytes;
  }
  if (coding == nullptr) return verdict;
  // RFC 9112 section 6.1: HTTP/1.0 has no transfer codings; both fields together smell of
  // smuggling.
  if (head.version < Version::http_1_1) {
    return refuse(
        400,
        "client sent HTTP/1.0 request with \"Transfer-Encoding\" header" WHILE_READING_HEADERS);
  }
  if (!equals_ignoring_case(coding->value, "chunked")) {
    return refuse(501, join(arena, {"client sent unknown \"Transfer-Encoding\": \"", coding->value,
                                    "\"" WHILE_READING_HEADERS}));
  }
  if (length != nullptr) {
    return refuse(400,
                  "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same "
                  "time" WHILE_READING_HEADERS);
  }
  verdict.body = {BodyLength::Kind::chunked, 0};
  return verdict;
}

const char* repeated_in_response(Arena& arena, const Header& first, const Header& again) {
  return join(arena, {"upstream sent duplicate header line: \"", again.name, ": ", again.value,
                      "\", previous value: \"", first.name, ": ", first.value,
                      "\"" WHILE_READING_RESPONSE});
}

}  // namespace

std::optional<uint64_t> parse_content_length(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr uint64_t kMax = INT64_MAX;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    auto digit = static_cast<uint64_t>(c - '0');
    if (value >= kMax / 10 && value > (kMax - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

BodyVerdict judge_request(Arena& arena, MessageHead& head) {
  const BodyVerdict repeated = find_repeated(arena, head);
  const Header* host = head.headers.find(HeaderId::host);
  // Refused before the Host field was read: the default server answers.
  if (repeated.status != 0 && (host == nullptr || host->value.data() > repeated.until)) {
    return repeated;
  }
  if (host != nullptr) {
    auto valid = validate_host(arena, host->value);
    if (!valid) {
      return refuse_at(*host, 400, "client sent invalid host header" WHILE_READING_HEADERS);
    }
    if (head.host.empty())
      head.host = *valid;  // the absolute form goes first (RFC 9112 section 3.2.2)
    if (repeated.status != 0) return repeated;
  } else if (head.version >= Version::http_1_1) {
    return refuse(400,
                  "client sent HTTP/1.1 request without \"Host\" header" WHILE_READING_HEADERS);
  }
  BodyVerdict verdict = judge_request_length(arena, head);
  if (verdict.status != 0) return verdict;
  if (head.method == Method::trace) {
    return refuse(405, "client sent TRACE method" WHILE_READING_HEADERS);
  }
  if (head.method == Method::connect) {
    return refuse(405, "client sent CONNECT method" WHILE_READING_HEADERS);
  }
  return verdict;
}

BodyVerdict judge_response(Arena& arena, const MessageHead& head, const RequestFacts& request) {
  const Header* length = nullptr;
  const Header* coding = nullptr;
  for (const Header& header : head.headers) {
    if (header.id != HeaderId::content_length && header.id != HeaderId::transfer_encoding) continue;
    const Header*& first = header.id == HeaderId::content_length ? length : coding;
    if (first != nullptr) return refuse(502, repeated_in_response(arena, *first, header));
    first = &header;
  }
  if (length != nullptr && coding != nullptr) {
    return refuse(502,
                  "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same "
                  "time" WHILE_READING_RESPONSE);
  }
  BodyVerdict verdict;
  std::optional<uint64_t> bytes;
  if (length != nullptr) {
    bytes = parse_content_length(length->value);
    if (!bytes) {
      return refuse(
          502, join(arena, {"upstream sent invalid \"Content-Length\" header: \"", length->name,
                            ": ", length->value, "\"" WHILE_READING_RESPONSE}));
    }
  }
  if (coding != nullptr && !equals_ignoring_case(coding->value, "chunked")) {
    return refuse(502, join(arena, {"upstream sent unknown \"Transfer-Encoding\": \"",
                                    coding->value, "\"" WHILE_READING_RESPONSE}));
  }
  // RFC 9110 section 7.8: a server switches only to what the client asked for.
  if (head.status == 101) {
    if (!request.upgrade) {
      return refuse(502, "upstream sent unexpected \"101\" response" WHILE_READING_RESPONSE);
    }
    return verdict;
  }
  // RFC 9112 section 6.3 rule 1. The declared length is kept for the head's reader.
  if (request.method == Method::head || head.status == 204 || head.status == 304 ||
      head.status < 200) {
    if (bytes) verdict.body.bytes = *bytes;
    return verdict;
  }
  if (coding != nullptr) {
    verdict.body.kind = BodyLength::Kind::chunked;
  } else if (bytes) {
    verdict.body = {*bytes == 0 ? BodyLength::Kind::none : BodyLength::Kind::exact, *bytes};
  } else {
    verdict.body.kind = BodyLength::Kind::until_close;
  }
  return verdict;
}

bool request_keeps_alive(const MessageHead& head) {
  bool keep = head.version >= Version::http_1_1;
  if (head.headers.find(HeaderId::connection) == nullptr) return keep;
  for (const Header& header : head.headers) {
    if (header.id != HeaderId::connection) continue;
    if (contains_ignoring_case(header.value, "close")) return false;
    if (head.version == Version::http_1_0 && contains_ignoring_case(header.value, "keep-alive")) {
      keep = true;
    }
  }
  return keep;
}

bool response_keeps_alive(const MessageHead& head) {
  if (head.version < Version::http_1_1) return false;
  if (head.headers.find(HeaderId::connection) == nullptr) return true;
  for (const Header& header : head.headers) {
    if (header.id == HeaderId::connection && contains_ignoring_case(header.value, "close"))
      return false;
  }
  return true;
}

SentFraming frame_response(const MessageHead& head, const ReceivedFacts& request) {
  using Body = SentFraming::Body;
  SentFraming framing;
  framing.keep_alive = head.keep_alive && request.keep_alive;
  if (request.version == Version::http_0_9) {
    framing.body = Body::until_close;
    framing.keep_alive = false;
    return framing;
  }
  if (head.status == 101) {
    framing.body = Body::raw;
    framing.content_length = head.body.kind == BodyLength::Kind::exact;
    framing.keep_alive = false;
    return framing;
  }
  // RFC 9110 section 8.6: no Content-Length in 204. Interim heads do not come here, but a
  // configuration may end a request with any status below 200 and a text.
  bool known =
      head.body.kind == BodyLength::Kind::exact || head.body.kind == BodyLength::Kind::none;
  framing.content_length = known && head.status != 204;
  if (request.method == Method::head || head.status == 204 || head.status == 304) {
    // Without a body, `none` says nothing about the length a GET would have got.
    if (head.body.kind == BodyLength::Kind::none) framing.content_length = false;
    return framing;
  }
  if (known) {
    framing.body = Body::exact;
  } else if (head.body.kind == BodyLength::Kind::chunked && head.chunked_allowed &&
             request.version >= Version::http_1_1) {
    framing.body = Body::chunked;
  } else {
    framing.body = Body::until_close;
    framing.keep_alive = false;
  }
  return framing;
}

bool is_hop_by_hop(HeaderId id) {
  switch (id) {
    case HeaderId::connection:
    case HeaderId::keep_alive:
    case HeaderId::proxy_connection:
    case HeaderId::te:
    case HeaderId::trailer:
    case HeaderId::transfer_encoding:
    case HeaderId::upgrade:
      return true;
    default:
      return false;
  }
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (equals_ignoring_case(item, token)) return true;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return false;
}

namespace {

enum HostClass : uint8_t { kPlain, kCapital, kSpecial };

constexpr std::array<uint8_t, 256> make_host_classes() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    const bool special =
        c <= 0x20 || c == 0x7f || c == '.' || c == ':' || c == '/' || c == '[' || c == ']';
    table[c] = special ? kSpecial : c >= 'A' && c <= 'Z' ? kCapital : kPlain;
  }
  return table;
}
constexpr auto kHostClass = make_host_classes();

}  // namespace

std::optional<std::string_view> validate_host(Arena& arena, std::string_view host) {
  enum class In { name, literal, rest } in = In::name;
  size_t length = host.size();
  constexpr size_t kNone = static_cast<size_t>(-1);
  size_t dot = kNone;
  bool capitals = false;
  for (size_t i = 0; i < host.size(); ++i) {
    auto c = static_cast<unsigned char>(host[i]);
    if (kHostClass[c] != kSpecial) {
      capitals |= kHostClass[c] == kCapital;
    } else if (c == '.') {
      if (dot != kNone && dot + 1 == i) return std::nullopt;
      dot = i;
    } else if (c == ':') {
      if (in == In::name) {
        length = i;
        in = In::rest;
      }
    } else if (c == '[') {
      if (i == 0) in = In::literal;
    } else if (c == ']') {
      if (in == In::literal) {
        length = i + 1;
        in = In::rest;
      }
    } else {
      return std::nullopt;
    }
  }
  if (length > 0 && host[length - 1] == '.') --length;
  if (length == 0) return std::nullopt;
  const std::string_view name = host.substr(0, length);
  return capitals ? lower_case(arena, name) : name;
}

}  // namespace weir::http
