#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/arena.h"

namespace weir::http {

// Field names that some code asks for by id. `other` for the rest. Found by find_header_id (perfect
// hash over the lower-cased name, length first).
enum class HeaderId : uint8_t {
  other,
  accept,
  accept_encoding,
  accept_ranges,
  age,
  authorization,
  cache_control,
  connection,
  content_encoding,
  content_length,
  content_range,
  content_type,
  cookie,
  date,
  etag,
  expect,
  expires,
  host,
  if_match,
  if_modified_since,
  if_none_match,
  if_range,
  if_unmodified_since,
  keep_alive,
  last_modified,
  link,
  location,
  proxy_connection,
  range,
  referer,
  refresh,
  server,
  set_cookie,
  status,
  te,
  trailer,
  transfer_encoding,
  upgrade,
  user_agent,
  vary,
  via,
  www_authenticate,
  x_accel_buffering,
  x_accel_charset,
  x_accel_expires,
  x_accel_limit_rate,
  x_accel_redirect,
  x_forwarded_for,
  x_real_ip,
  early_data,
  http2_settings,
  origin,
  pragma,
  content_disposition,
  x_forwarded_proto,
};
HeaderId find_header_id(std::string_view name);

struct Header {
  std::string_view name;   // as received or as written in the configuration
  std::string_view value;  // without surrounding spaces
  HeaderId id = HeaderId::other;
  bool secret = false;  // HTTP/2: never to be indexed, also behind us (RFC 7541 section 6.2.3)
};

// Header fields in order, in arena memory (grows by doubling there). Copying copies the references.
class HeaderList {
 public:
  void add(Arena& arena, const Header& header) {
    if (size_ == capacity_) reserve(arena, capacity_ == 0 ? 8 : size_t{capacity_} * 2);
    new (fields_ + size_++) Header(header);
    seen_ |= uint64_t{1} << static_cast<unsigned>(header.id);
  }
  void add(Arena& arena, std::string_view name, std::string_view value) {
    add(arena, Header{name, value, find_header_id(name)});
  }
  // Fields that came together, in their order: add_next() for each after reserve().
  void add_next(const Header& header) {
    new (fields_ + size_++) Header(header);
    seen_ |= uint64_t{1} << static_cast<unsigned>(header.id);
  }
  // First field with that id or name (case does not matter), or null.
  const Header* find(HeaderId id) const { return has(id) ? find_first(id) : nullptr; }
  const Header* find(std::string_view name) const;
  Header* find(HeaderId id) { return has(id) ? const_cast<Header*>(find_first(id)) : nullptr; }
  // Room for `count` fields in all, so that adding that many copies nothing.
  void reserve(Arena& arena, size_t count);
  size_t remove(HeaderId id);  // returns how many
  const Header* begin() const { return fields_; }
  const Header* end() const { return fields_ + size_; }
  Header* begin() { return fields_; }
  Header* end() { return fields_ + size_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() {
    size_ = 0;
    seen_ = 0;
  }

 private:
  bool has(HeaderId id) const { return (seen_ >> static_cast<unsigned>(id) & 1) != 0; }
  const Header* find_first(HeaderId id) const;
  Header* fields_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  uint64_t seen_ = 0;  // bit per HeaderId: find(id) of an absent field costs one test
};

enum class Version : uint8_t { http_0_9 = 9, http_1_0 = 10, http_1_1 = 11, http_2 = 20 };

enum class Method : uint16_t {
  unknown,
  get,
  head,
  post,
  put,
  delete_,
  mkcol,
  copy,
  move,
  options,
  propfind,
  proppatch,
  lock,
  unlock,
  patch,
  trace,
  connect,
};
Method find_method(std::string_view name);
// "Not Found" for 404, in nginx's words; empty for a status that has none there.
std::string_view reason_phrase(int status);
// ASCII only, as field names and tokens are compared (RFC 9110 section 5.1).
bool equals_ignoring_case(std::string_view a, std::string_view b);
// The text with ASCII letters in lower case: `text` itself where it has no capitals, else a copy.
std::string_view lower_case(Arena& arena, std::string_view text);

// How the length of a body is known. For received messages: what the peer declared. For sent ones:
// what the sender knows; the codec chooses the framing by http/framing.
struct BodyLength {
  enum class Kind : uint8_t {
    none,         // no body follows
    exact,        // `bytes` of them
    chunked,      // received: chunked; sent: unknown length, ended by the end event
    until_close,  // received responses only
  };
  Kind kind = Kind::none;
  uint64_t bytes = 0;
};

// One message head. All text lives in the arena of its exchange (or is static).
struct MessageHead {
  // request
  std::string_view method_text;
  Method method = Method::unknown;
  std::string_view request_line;  // raw first line, without line end (HTTP/1), for $request
  std::string_view target;        // raw, as in the request line: origin form path?query, or *; the
                                  // scheme and authority of an absolute form are split off
  std::string_view scheme;        // absolute form or :scheme
  std::string_view authority;     // absolute form or :authority; empty when absent
  std::string_view protocol;      // as in the request line, "HTTP/1.1"; empty for HTTP/0.9
  std::string_view connect_protocol;  // :protocol of an extended CONNECT (RFC 8441)
  std::string_view host;  // validated (framing.h validate_host): lower case, without port and
                          // final dot; from the absolute form, else from Host; may be empty
                          // (HTTP/1.0 and 0.9 only)
  // response
  int status = 0;
  // The status and what follows it in the status line, as received ("200 OK"; "200", "200 " too).
  // Sent so where it is not empty; else the status with its usual words.
  std::string_view reason;
  // both
  Version version = Version::http_1_1;
  HeaderList headers;
  BodyLength body;
  bool keep_alive = true;  // HTTP/1: the connection stays after this exchange, as this message says
  bool upgrade = false;    // request: carries Upgrade; response: 101
  bool expect_continue = false;
  uint32_t bytes = 0;  // size of the head on the wire, line ends included
  // request: field lines that were ignored (ignore_invalid_headers, underscores_in_headers)
  const std::string_view* ignored_lines = nullptr;
  uint32_t ignored_count = 0;
  // response to be sent, HTTP/1
  bool chunked_allowed = true;  // chunked_transfer_encoding
  uint32_t keep_alive_seconds =
      0;  // keepalive_timeout's second value: Keep-Alive: timeout=N; 0: none
  // response to be sent, HTTP/2: the most body bytes in one frame; 0: the protocol's 16384
  uint32_t frame_size = 0;
};

}  // namespace weir::http
