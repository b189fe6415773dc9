#include "engine/http/h1/head_parser.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::http::h1 {
namespace {

enum NameClass : uint8_t {
  kGood,        // letters, digits, hyphen
  kUnderscore,  // good where underscores_in_headers is on
  kOdd,         // makes the name invalid: ignore_invalid_headers decides
  kBad,         // refused in every case: blanks, control characters, DEL
  kColon,
  kLineEnd,
};

constexpr std::array<uint8_t, 256> make_name_classes() {
  std::array<uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    table[c] = alphanumeric || c == '-' ? kGood : c <= 0x20 || c == 0x7f ? kBad : kOdd;
  }
  table['_'] = kUnderscore;
  table[':'] = kColon;
  table['\r'] = kLineEnd;
  table['\n'] = kLineEnd;
  return table;
}
constexpr auto kNameClass = make_name_classes();

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alpha(char c) {
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'z';
}
bool is_method_character(char c) {
  return (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}
bool is_control(char c) {
  auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

bool ends_name(char c, bool empty) {
  return c == ':' ? !empty : c == '\r' || c == '\n';
}

// The first LF, CR or NUL of [from, end); end when there is none.
uint32_t find_line_stop(const char* data, uint32_t from, uint32_t end) {
#if defined(__SSE2__)
  const __m128i lf = _mm_set1_epi8('\n');
  const __m128i cr = _mm_set1_epi8('\r');
  const __m128i nul = _mm_setzero_si128();
  while (from + 16 <= end) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + from));
    __m128i hits = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, lf), _mm_cmpeq_epi8(bytes, cr)),
                                _mm_cmpeq_epi8(bytes, nul));
    int mask = _mm_movemask_epi8(hits);
    if (mask != 0) return from + static_cast<uint32_t>(__builtin_ctz(static_cast<unsigned>(mask)));
    from += 16;
  }
#endif
  while (from < end && data[from] != '\n' && data[from] != '\r' && data[from] != '\0') ++from;
  return from;
}

// The first byte of [from, end) that is not plainly good for a name; maybe a good one near the end.
uint32_t skip_name(const char* data, uint32_t from, uint32_t end) {
#if defined(__SSE2__)
  // Signed comparisons of bytes moved so that the range begins at the lowest value.
  const __m128i case_bit = _mm_set1_epi8(0x20);
  const __m128i letters = _mm_set1_epi8(static_cast<char>(0x80 - 'a'));
  const __m128i digits = _mm_set1_epi8(static_cast<char>(0x80 - '0'));
  const __m128i hyphen = _mm_set1_epi8('-');
  while (from + 16 <= end) {
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + from));
    __m128i letter = _mm_add_epi8(_mm_or_si128(bytes, case_bit), letters);
    __m128i good = _mm_cmplt_epi8(letter, _mm_set1_epi8(-128 + 26));
    good =
        _mm_or_si128(good, _mm_cmplt_epi8(_mm_add_epi8(bytes, digits), _mm_set1_epi8(-128 + 10)));
    good = _mm_or_si128(good, _mm_cmpeq_epi8(bytes, hyphen));
    auto odd = static_cast<unsigned>(_mm_movemask_epi8(good)) ^ 0xffffU;
    if (odd != 0) return from + static_cast<uint32_t>(__builtin_ctz(odd));
    from += 16;
  }
#endif
  (void)data;
  (void)end;
  return from;
}

}  // namespace

void HeadParser::begin(Kind kind, const HeadLimits* limits, uint32_t head_limit) {
  kind_ = kind;
  in_fields_ = kind == Kind::trailers;
  version_ = Version::http_1_0;
  status_ = 0;
  head_limit_ = head_limit;
  position_ = 0;
  limits_ = limits;
  buffer_left_ = kind == Kind::request ? limits->first_buffer : 0;
  buffers_used_ = 0;
  field_count_ = 0;
  line_ = method_ = target_ = scheme_ = authority_ = protocol_ = reason_ = Span{};
  empty_path_ = false;
  failure_ = Failure{};
  fields_.clear();
  ignored_.clear();
  pending.clear();
}

HeadParser::Result HeadParser::fail(Problem problem, uint32_t line, uint32_t stop) {
  failure_ = {problem, line, stop};
  return Result::malformed;
}

// nginx reads a head into one small buffer, then into a few large ones; a line that a buffer's end
// cuts moves to the next one whole. False: this line (so many bytes, line end included) fits
// nowhere.
bool HeadParser::account(uint32_t line, uint32_t size) {
  if (kind_ != Kind::request) return line + size <= head_limit_;
  if (size <= buffer_left_) {
    buffer_left_ -= size;
    return true;
  }
  if (buffers_used_ == limits_->buffer_count || size > limits_->buffer_size) return false;
  ++buffers_used_;
  buffer_left_ = limits_->buffer_size - size;
  return true;
}

// The text ends inside a line: is there still room for its next byte?
HeadParser::Result HeadParser::out_of_bytes(uint32_t line, size_t size) {
  auto held = static_cast<uint32_t>(size) - line;
  if (kind_ != Kind::request) {
    if (size >= head_limit_) return fail(Problem::too_big, line, static_cast<uint32_t>(size));
    return Result::incomplete;
  }
  if (held < buffer_left_) return Result::incomplete;
  if (buffers_used_ < limits_->buffer_count && held < limits_->buffer_size)
    return Result::incomplete;
  if (!in_fields_) line_ = {line, std::min(held, limits_->buffer_size)};
  return fail(in_fields_ ? Problem::header_too_long : Problem::uri_too_long, line,
              static_cast<uint32_t>(size));
}

HeadParser::Result HeadParser::parse(std::string_view text) {
  if (!in_fields_) {
    Result result = parse_first_line(text.data(), text.size());
    if (result != Result::complete) return result;
    in_fields_ = true;
    if (version_ == Version::http_0_9) return Result::complete;
  }
  return parse_fields(text.data(), text.size());
}

HeadParser::Result HeadParser::parse_first_line(const char* data, size_t size) {
  return kind_ == Kind::request ? parse_request_line(data, size) : parse_status_line(data, size);
}

// RFC 9112 section 3, as nginx reads it: any token of capitals, hyphen and underscore for the
// method, runs of spaces between the parts, raw bytes above 0x7f in the target, no blanks there.
HeadParser::Result HeadParser::parse_request_line(const char* data, size_t size) {
  auto limit = static_cast<uint32_t>(size);
  uint32_t at = 0;
  while (at < limit && is_method_character(data[at])) ++at;
  if (at < limit && (data[at] != ' ' || at == 0)) {
    const void* line_end = std::memchr(data, '\n', size);
    line_.size =
        line_end ? static_cast<uint32_t>(static_cast<const char*>(line_end) - data) : limit;
    if (line_.size > 0 && data[line_.size - 1] == '\r') --line_.size;
    return fail(Problem::method, 0, at);
  }
  uint32_t stop = find_line_stop(data, at, limit);
  if (stop == limit) return out_of_bytes(0, size);
  line_ = {0, stop};
  uint32_t next = stop + 1;
  if (data[stop] == '\r') {
    if (next == limit) return out_of_bytes(0, size);
    if (data[next] != '\n') return fail(Problem::request_line, 0, stop);
    ++next;
  } else if (data[stop] == '\0') {
    // The log shows all of the line.
    while (line_.size < limit && data[line_.size] != '\r' && data[line_.size] != '\n') ++line_.size;
    return fail(Problem::request_line, 0, stop);
  }
  if (!account(0, next)) {
    line_.size = std::min(line_.size, limits_->buffer_size);
    return fail(Problem::uri_too_long, 0, next);
  }
  method_ = {0, at};
  while (at < stop && data[at] == ' ') ++at;
  Result result = parse_request_target(data, at, stop);
  if (result == Result::complete) result = parse_version(data, at, stop);
  position_ = next;
  return result;
}

HeadParser::Result HeadParser::parse_request_target(const char* data, uint32_t& at, uint32_t end) {
  if (at == end) return fail(Problem::request_line, 0, at);
  if (data[at] != '/') {
    // RFC 9112 section 3.2.3: the authority form, which only CONNECT has. It gets its 405 later.
    bool authority_form = method_.in(data) == "CONNECT";
    Result result = authority_form ? Result::complete : parse_absolute_form(data, at, end);
    if (result != Result::complete) return result;
  }
  uint32_t from = at;
  while (at < end && data[at] != ' ') {
    if (is_control(data[at])) return fail(Problem::request_line, 0, at);
    ++at;
  }
  target_ = {from, at - from};
  empty_path_ = from == at;
  return Result::complete;
}

// RFC 9112 section 3.2.2. Leaves `at` at the path, the query or the blank behind the authority.
HeadParser::Result HeadParser::parse_absolute_form(const char* data, uint32_t& at, uint32_t end) {
  uint32_t from = at;
  if (!is_alpha(data[at])) return fail(Problem::request_line, 0, at);
  while (at < end && (is_alpha(data[at]) || is_digit(data[at]) || data[at] == '+' ||
                      data[at] == '-' || data[at] == '.')) {
    ++at;
  }
  if (end - at < 3 || std::memcmp(data + at, "://", 3) != 0) {
    return fail(Problem::request_line, 0, at);
  }
  scheme_ = {from, at - from};
  at += 3;
  from = at;
  if (at < end && data[at] == '[') {
    ++at;
    while (at < end && data[at] != ']') {
      char c = data[at];
      if (!is_alpha(c) && !is_digit(c) && std::strchr(":-._~!$&'()*+,;=", c) == nullptr) {
        return fail(Problem::request_line, 0, at);
      }
      ++at;
    }
    if (at == end) return fail(Problem::request_line, 0, at);
    ++at;
  } else {
    while (at < end &&
           (is_alpha(data[at]) || is_digit(data[at]) || data[at] == '.' || data[at] == '-')) {
      ++at;
    }
  }
  uint32_t host_end = at;
  if (at < end && data[at] == ':') {
    ++at;
    while (at < end && is_digit(data[at])) ++at;
  }
  if (at < end && data[at] != '/' && data[at] != '?' && data[at] != ' ') {
    return fail(Problem::request_line, 0, at);
  }
  authority_ = {from, at - from};
  if (host_end == from) return fail(Problem::host_in_request_line, 0, at);
  return Result::complete;
}

HeadParser::Result HeadParser::parse_version(const char* data, uint32_t at, uint32_t end) {
  while (at < end && data[at] == ' ') ++at;
  if (at == end) {
    version_ = Version::http_0_9;
    if (method_.in(data) != "GET") return fail(Problem::method_in_0_9, 0, at);
    return Result::complete;
  }
  protocol_ = {at, end - at};
  if (end - at < 8 || std::memcmp(data + at, "HTTP/", 5) != 0) {
    return fail(Problem::request_line, 0, at);
  }
  at += 5;
  if (data[at] < '1' || data[at] > '9') return fail(Problem::request_line, 0, at);
  if (data[at] != '1' || is_digit(data[at + 1])) return fail(Problem::version, 0, at);
  if (data[at + 1] != '.') return fail(Problem::request_line, 0, at);
  at += 2;
  uint32_t minor = 0;
  uint32_t digits = 0;
  while (at < end && is_digit(data[at]) && ++digits <= 3) minor = minor * 10 + (data[at++] - '0');
  bool bad = digits == 0 || digits > 3;
  while (at < end && data[at] == ' ') ++at;
  if (bad || at != end) return fail(Problem::request_line, 0, at);
  version_ = minor == 0 ? Version::http_1_0 : Version::http_1_1;
  return Result::complete;
}

// RFC 9112 section 4, as nginx reads it: HTTP/1.x or later, three digits, then nothing, a space or
// a dot, and any text. Anything else is the body of an HTTP/0.9 answer.
HeadParser::Result HeadParser::parse_status_line(const char* data, size_t size) {
  auto limit = static_cast<uint32_t>(size);
  uint32_t prefix = limit < 5 ? limit : 5;
  if (std::memcmp(data, "HTTP/", prefix) != 0) return Result::not_http;
  uint32_t stop = find_line_stop(data, prefix, limit);
  while (stop < limit && data[stop] == '\0') stop = find_line_stop(data, stop + 1, limit);
  uint32_t at = 5;
  uint32_t end = stop;
  auto digit_at = [&](uint32_t index) { return index < end && is_digit(data[index]); };
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t from = at;
  while (digit_at(at) && at - from < 2) major = major * 10 + (data[at++] - '0');
  if (stop == limit && at >= end) return out_of_bytes(0, size);
  if (major == 0 || at >= end || data[at] != '.') return Result::not_http;
  from = ++at;
  while (digit_at(at) && at - from < 3) minor = minor * 10 + (data[at++] - '0');
  if (stop == limit && at >= end) return out_of_bytes(0, size);
  if (at == from || at >= end || data[at] != ' ') return Result::not_http;
  while (at < end && data[at] == ' ') ++at;
  from = at;
  uint32_t status = 0;
  while (digit_at(at) && at - from < 3) status = status * 10 + (data[at++] - '0');
  if (stop == limit && at >= end) return out_of_bytes(0, size);
  if (at - from != 3) return Result::not_http;
  if (at < end && data[at] != ' ' && data[at] != '.') return Result::not_http;
  if (stop == limit) return out_of_bytes(0, size);
  uint32_t next = stop + 1;
  if (data[stop] == '\r') {
    if (next == limit) return out_of_bytes(0, size);
    if (data[next] != '\n') return Result::not_http;
    ++next;
  }
  if (std::memchr(data, '\0', stop) != nullptr) return fail(Problem::header_line, 0, stop);
  if (!account(0, next)) return fail(Problem::too_big, 0, next);
  // A status below 100 has no meaning that could be forwarded.
  if (status < 100) return Result::not_http;
  line_ = {0, stop};
  status_ = static_cast<uint16_t>(status);
  version_ = major == 1 && minor == 0 ? Version::http_1_0 : Version::http_1_1;
  reason_ = {from, end - from};
  position_ = next;
  return Result::complete;
}

// Leaves `at` at the colon or the line end. `incomplete`: the text ended.
HeadParser::Result HeadParser::parse_name(const char* data, uint32_t& at, uint32_t end,
                                          bool& invalid) {
  uint32_t from = at;
  for (;; ++at) {
    at = skip_name(data, at, end);
    while (at < end && kNameClass[static_cast<unsigned char>(data[at])] == kGood) ++at;
    if (at == end) return Result::incomplete;
    switch (kNameClass[static_cast<unsigned char>(data[at])]) {
      case kUnderscore:
        if (kind_ == Kind::request && !limits_->allow_underscores) invalid = true;
        break;
      case kOdd:
        invalid = true;
        break;
      case kBad:
        return fail(Problem::header_line, from, at);
      case kColon:
        return at == from ? fail(Problem::header_line, from, at) : Result::complete;
      default:
        return Result::complete;
    }
  }
}

// RFC 9112 section 5, strict where requests are smuggled: no folded lines, no blank before the
// colon, no bare CR, no NUL. A bare LF ends a line of a head, as in nginx, but not one of a chunked
// body's trailers. A line without a colon is a field with an empty value there, and here.
HeadParser::Result HeadParser::parse_fields(const char* data, size_t size) {
  auto limit = static_cast<uint32_t>(size);
  for (;;) {
    uint32_t line = position_;
    uint32_t at = skip_name(data, line, limit);
    bool invalid = false;
    // All of it good, up to the colon or the end of the line: the usual case.
    if (at == limit || !ends_name(data[at], at == line)) {
      at = line;
      Result name_result = parse_name(data, at, limit, invalid);
      if (name_result == Result::malformed) return name_result;
      if (name_result == Result::incomplete) return out_of_bytes(line, size);
    }
    Span name{line, at - line};
    Span value{at, 0};
    uint32_t stop = at;
    if (data[at] == ':') {
      ++at;
      while (at < limit && data[at] == ' ') ++at;
      stop = find_line_stop(data, at, limit);
      if (stop == limit) return out_of_bytes(line, size);
      uint32_t value_end = stop;
      while (value_end > at && data[value_end - 1] == ' ') --value_end;
      value = {at, value_end - at};
    }
    uint32_t next = stop + 1;
    if (data[stop] == '\r') {
      if (next == limit) return out_of_bytes(line, size);
      if (data[next] != '\n') return fail(Problem::header_line, line, stop);
      ++next;
    } else if (data[stop] == '\0' || kind_ == Kind::trailers) {
      return fail(Problem::header_line, line, stop);
    }
    if (!account(line, next - line)) {
      return fail(kind_ == Kind::request ? Problem::header_too_long : Problem::too_big, line, stop);
    }
    position_ = next;
    if (name.size == 0) return Result::complete;
    if (++field_count_ > limits_->max_headers) return fail(Problem::too_many_headers, line, stop);
    if (invalid && kind_ == Kind::request && limits_->ignore_invalid) {
      ignored_.push_back({line, (value.size > 0 ? value.at + value.size : at) - line});
      continue;
    }
    fields_.push_back({name, value, find_header_id(name.in(data))});
  }
}

void HeadParser::fill_headers(Arena& arena, const char* text, HeaderList& headers) const {
  headers.reserve(arena, fields_.size());
  for (const Field& field : fields_) {
    headers.add_next(Header{field.name.in(text), field.value.in(text), field.id});
  }
}

void HeadParser::fill_ignored(Arena& arena, const char* text, MessageHead& head) const {
  const size_t count = ignored_.size();
  auto* lines = static_cast<std::string_view*>(
      arena.allocate(count * sizeof(std::string_view), alignof(std::string_view)));
  for (size_t i = 0; i < count; ++i) new (&lines[i]) std::string_view(ignored_[i].in(text));
  head.ignored_lines = lines;
  head.ignored_count = static_cast<uint32_t>(count);
}

void HeadParser::fill(Arena& arena, const char* text, size_t size, MessageHead& head) const {
  head.version = version_;
  head.bytes = static_cast<uint32_t>(size);
  if (kind_ == Kind::request) {
    head.request_line = line_.in(text);
    head.method_text = method_.in(text);
    head.method = find_method(head.method_text);
    head.target = empty_path_ ? std::string_view("/") : target_.in(text);
    head.scheme = scheme_.in(text);
    head.authority = authority_.in(text);
    head.protocol = protocol_.in(text);
    if (!ignored_.empty()) fill_ignored(arena, text, head);
  } else {
    head.status = status_;
    head.reason = reason_.in(text);
  }
  fill_headers(arena, text, head.headers);
}

}  // namespace weir::http::h1
