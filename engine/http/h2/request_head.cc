#include "engine/http/h2/request_head.h"

#include <initializer_list>

#include "engine/http/framing.h"
#include "engine/http/h2/multiplexer.h"

namespace weir::http::h2 {
namespace {

constexpr FieldVerdict kFine;

FieldVerdict refuse(const char* reason, int status = 400) {
  return {status, reason};
}

FieldVerdict refuse(Arena& arena, std::initializer_list<std::string_view> pieces,
                    int status = 400) {
  ArenaText text(arena, 160);
  for (std::string_view piece : pieces) text.append(piece.substr(0, 1024));
  text.push_back('\0');
  return {status, text.view().data()};
}

bool is_method(std::string_view text) {
  for (char c : text) {
    if ((c < 'A' || c > 'Z') && c != '_' && c != '-') return false;
  }
  return true;
}

bool is_scheme(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char low = static_cast<char>(c | 0x20);
    if (low >= 'a' && low <= 'z') continue;
    if (i > 0 && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')) continue;
    return false;
  }
  return true;
}

// RFC 3986 has no blanks and controls; in a request line of HTTP/1 they would be delimiters.
bool is_path(std::string_view text) {
  if (text.front() != '/') return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f) return false;
  }
  return true;
}

FieldVerdict add_pseudo(Stream& stream, std::string_view name, std::string_view value,
                        bool extended_connect) {
  Arena& arena = *stream.arena;
  MessageHead& head = *stream.head;
  if (stream.pseudo_done) return refuse("client sent out of order pseudo-headers");
  if (name == ":path") {
    if (!head.target.empty()) return refuse("client sent duplicate :path header");
    if (value.empty()) return refuse("client sent empty :path header");
    if (!is_path(value)) {
      return refuse(arena, {"client sent invalid :path header: \"", value, "\""});
    }
    head.target = arena.copy(value);
  } else if (name == ":method") {
    if (!head.method_text.empty()) return refuse("client sent duplicate :method header");
    if (value.empty()) return refuse("client sent empty :method header");
    if (!is_method(value)) return refuse(arena, {"client sent invalid method: \"", value, "\""});
    head.method_text = arena.copy(value);
    head.method = find_method(head.method_text);
  } else if (name == ":scheme") {
    if (!head.scheme.empty()) return refuse("client sent duplicate :scheme header");
    if (value.empty()) return refuse("client sent empty :scheme header");
    if (!is_scheme(value)) {
      return refuse(arena, {"client sent invalid :scheme header: \"", value, "\""});
    }
    head.scheme = arena.copy(value);
  } else if (name == ":authority") {
    if (head.authority.data() != nullptr) {
      return refuse("client sent duplicate \":authority\" header");
    }
    head.authority = arena.copy(value);
    auto host = validate_host(arena, head.authority);
    if (!host || value.find('@') != std::string_view::npos)
      return refuse("client sent invalid \":authority\" header");
    head.host = *host;
  } else if (name == ":protocol" && extended_connect) {
    if (!head.connect_protocol.empty()) return refuse("client sent duplicate :protocol header");
    if (value.empty()) return refuse("client sent empty :protocol header");
    head.connect_protocol = arena.copy(value);
  } else {
    return refuse(arena, {"client sent unknown pseudo-header \"", name, "\""});
  }
  return kFine;
}

FieldVerdict missing_pseudo(const MessageHead& head) {
  if (head.method_text.empty()) return refuse("client sent no :method header");
  if (head.scheme.empty()) return refuse("client sent no :scheme header");
  if (head.target.empty()) return refuse("client sent no :path header");
  return kFine;
}

// RFC 9113 section 8.2.2.
FieldVerdict judge_connection_field(const Header& field) {
  switch (field.id) {
    case HeaderId::connection:
      return refuse("client sent \"Connection\" header");
    case HeaderId::keep_alive:
      return refuse("client sent \"Keep-Alive\" header");
    case HeaderId::proxy_connection:
      return refuse("client sent \"Proxy-Connection\" header");
    case HeaderId::transfer_encoding:
      return refuse("client sent \"Transfer-Encoding\" header");
    case HeaderId::upgrade:
      return refuse("client sent \"Upgrade\" header");
    case HeaderId::te:
      if (!equals_ignoring_case(field.value, "trailers")) {
        return refuse("client sent invalid \"TE\" header");
      }
      break;
    default:
      break;
  }
  return kFine;
}

// RFC 9113 section 8.2.3: pieces of Cookie are one field again.
void join_cookies(Arena& arena, HeaderList& fields) {
  size_t count = 0;
  size_t size = 0;
  bool secret = false;
  for (const Header& field : fields) {
    if (field.id != HeaderId::cookie) continue;
    ++count;
    size += field.value.size() + 2;
    secret = secret || field.secret;
  }
  const Header* first = fields.find(HeaderId::cookie);
  if (count < 2) {
    const Header only = *first;
    fields.remove(HeaderId::cookie);
    fields.add(arena, only);
    return;
  }
  ArenaText text(arena, size);
  for (const Header& field : fields) {
    if (field.id != HeaderId::cookie) continue;
    if (text.size() > 0) text.append("; ");
    text.append(field.value);
  }
  fields.remove(HeaderId::cookie);
  fields.add(arena, Header{"cookie", text.view(), HeaderId::cookie, secret});
}

FieldVerdict settle_length(Stream& stream, bool end) {
  MessageHead& head = *stream.head;
  const Header* length = head.headers.find(HeaderId::content_length);
  if (length == nullptr) {
    head.body.kind = end ? BodyLength::Kind::none : BodyLength::Kind::chunked;
    return kFine;
  }
  const auto bytes = parse_content_length(length->value);
  if (!bytes) return refuse("client sent invalid \"Content-Length\" header");
  if (*bytes > 0 && end) return refuse("client prematurely closed stream");
  head.body = {*bytes == 0 ? BodyLength::Kind::none : BodyLength::Kind::exact, *bytes};
  return kFine;
}

}  // namespace

MessageHead* begin_request(Arena& arena) {
  auto* head = arena.make<MessageHead>();
  head->version = Version::http_2;
  head->protocol = "HTTP/2.0";
  return head;
}

FieldVerdict add_request_field(Stream& stream, std::string_view name, std::string_view value,
                               const HeadLimits& limits, bool extended_connect) {
  Arena& arena = *stream.arena;
  MessageHead& head = *stream.head;
  const bool pseudo = name.starts_with(':');
  const NameVerdict verdict = judge_name(pseudo ? name.substr(1) : name, limits.allow_underscores);
  if (verdict == NameVerdict::invalid || name.empty()) {
    return refuse(arena, {"client sent invalid header name: \"", name, "\""});
  }
  if (!is_valid_value(value) || has_outer_blanks(value)) {
    return refuse(arena, {"client sent header \"", name, "\" with invalid value: \"", value, "\""});
  }
  if (pseudo) return add_pseudo(stream, name, value, extended_connect);
  if (!stream.pseudo_done) {
    stream.pseudo_done = true;
    const FieldVerdict missing = missing_pseudo(head);
    if (missing.status != 0) return missing;
  }
  if (verdict == NameVerdict::odd && limits.ignore_invalid) return kFine;
  Header field;
  field.id = find_header_id(name);
  // Pieces of one Cookie count as one field.
  const bool more_cookie = field.id == HeaderId::cookie && stream.has_cookies;
  if (!more_cookie && stream.field_count++ >= limits.max_headers) {
    return refuse("client sent too many header lines", 494);
  }
  stream.has_cookies = stream.has_cookies || field.id == HeaderId::cookie;
  if (once_bit(field.id) != 0) {
    if (const Header* first = head.headers.find(field.id)) {
      return refuse(arena, {field.id == HeaderId::host ? "client sent duplicate host header: \""
                                                       : "client sent duplicate header line: \"",
                            name, ": ", value, "\", previous value: \"", first->name, ": ",
                            first->value, "\""});
    }
  }
  char* text = arena.text(name.size() + value.size());
  name.copy(text, name.size());
  value.copy(text + name.size(), value.size());
  field.name = {text, name.size()};
  field.value = {text + name.size(), value.size()};
  field.secret = stream.field_secret;
  if (field.id == HeaderId::host) {
    auto host = validate_host(arena, field.value);
    if (!host) return refuse("client sent invalid host header");
    if (head.host.empty()) head.host = *host;
  }
  head.headers.add(arena, field);
  return kFine;
}

void fill_request_line(Stream& stream) {
  MessageHead& head = *stream.head;
  if (head.method_text.empty() || head.target.empty() || head.scheme.empty()) return;
  ArenaText line(*stream.arena, head.method_text.size() + head.target.size() + 10);
  line.append(head.method_text);
  line.push_back(' ');
  line.append(head.target);
  line.append(" HTTP/2.0");
  head.request_line = line.view();
}

FieldVerdict finish_request(Stream& stream, bool end) {
  Arena& arena = *stream.arena;
  MessageHead& head = *stream.head;
  FieldVerdict verdict = missing_pseudo(head);
  if (verdict.status != 0) return verdict;
  fill_request_line(stream);
  if (stream.has_cookies) join_cookies(arena, head.headers);
  for (const Header& field : head.headers) {
    verdict = judge_connection_field(field);
    if (verdict.status != 0) return verdict;
  }
  const Header* host = head.headers.find(HeaderId::host);
  if (head.authority.data() != nullptr) {
    if (host != nullptr && host->value != head.authority) {
      return refuse("client sent \":authority\" and \"Host\" headers with different values");
    }
    if (host == nullptr) head.headers.add(arena, Header{"host", head.authority, HeaderId::host});
  } else if (host == nullptr) {
    return refuse("client sent neither \":authority\" nor \"Host\" header");
  }
  const Header* expect = head.headers.find(HeaderId::expect);
  head.expect_continue = expect != nullptr && equals_ignoring_case(expect->value, "100-continue");
  verdict = settle_length(stream, end);
  if (verdict.status != 0) return verdict;
  if (!head.connect_protocol.empty() && head.method != Method::connect) {
    return refuse("client sent :protocol header with another method than CONNECT");
  }
  // RFC 8441 section 4, RFC 9110 section 15.6.2.
  if (!head.connect_protocol.empty() && head.connect_protocol != "websocket") {
    return refuse("client sent unknown :protocol header", 501);
  }
  if (head.method == Method::trace) return refuse("client sent TRACE method", 405);
  if (head.method == Method::connect && head.connect_protocol.empty()) {
    return refuse("client sent CONNECT method", 405);
  }
  return kFine;
}

}  // namespace weir::http::h2
