#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/codec.h"
#include "engine/http/message.h"

namespace weir::http::h1 {

// Reads the head of one message, or the trailer section of a chunked body, by nginx's rules: what
// is refused, what is dropped, how the buffers of client_header_buffer_size and
// large_client_header_buffers run out. One scan of the text; the results are offsets, so the text
// may move while it grows. The text is the whole head from its first byte; parse() goes on where
// the last call ran out of bytes.
class HeadParser {
 public:
  enum class Kind : uint8_t { request, response, trailers };
  enum class Result : uint8_t {
    incomplete,
    complete,
    malformed,  // see failure()
    not_http,   // response only: no status line (HTTP/0.9)
  };
  // A failure of a head: what a server answers, and nginx's words. The line is quoted in the log as
  // far as it was read; `stop` is the offset of the offending byte.
  enum class Problem : uint8_t {
    none,
    method,
    request_line,
    host_in_request_line,
    version,
    method_in_0_9,
    uri_too_long,
    header_line,
    header_too_long,
    too_many_headers,
    too_big,  // response or trailers above their limit
  };
  struct Failure {
    Problem problem = Problem::none;
    uint32_t line = 0;
    uint32_t stop = 0;
  };
  struct Span {
    uint32_t at = 0;
    uint32_t size = 0;
    std::string_view in(const char* text) const { return {text + at, size}; }
  };
  struct Field {
    Span name;
    Span value;
    HeaderId id;
  };

  // `limits` must stay valid while parsing. `head_limit`: bytes of a response head or trailers.
  void begin(Kind kind, const HeadLimits* limits, uint32_t head_limit);
  Result parse(std::string_view text);

  // After complete (and malformed, as far as it got):
  uint32_t head_size() const { return position_; }  // bytes of the text that belong to the head
  const Failure& failure() const { return failure_; }
  const std::vector<Field>& fields() const { return fields_; }
  // Field lines that ignore_invalid_headers and underscores_in_headers made us pass over.
  const std::vector<Span>& ignored() const { return ignored_; }
  // Writes what was read into a head whose text is at `text` (arena memory).
  void fill(Arena& arena, const char* text, size_t size, MessageHead& head) const;
  void fill_headers(Arena& arena, const char* text, HeaderList& headers) const;

  // Bytes held between feeds while the head is incomplete.
  std::string pending;

 private:
  Result parse_first_line(const char* data, size_t size);
  Result parse_request_line(const char* data, size_t size);
  Result parse_request_target(const char* data, uint32_t& at, uint32_t end);
  Result parse_absolute_form(const char* data, uint32_t& at, uint32_t end);
  Result parse_version(const char* data, uint32_t at, uint32_t end);
  Result parse_status_line(const char* data, size_t size);
  Result parse_fields(const char* data, size_t size);
  Result parse_name(const char* data, uint32_t& at, uint32_t end, bool& invalid);
  void fill_ignored(Arena& arena, const char* text, MessageHead& head) const;
  Result fail(Problem problem, uint32_t line, uint32_t stop);
  Result out_of_bytes(uint32_t line, size_t size);
  bool account(uint32_t line, uint32_t size);

  Kind kind_ = Kind::request;
  bool in_fields_ = false;
  Version version_ = Version::http_1_0;
  uint16_t status_ = 0;
  uint32_t head_limit_ = 0;
  uint32_t position_ = 0;      // up to here the text is parsed, line by line
  uint32_t buffer_left_ = 0;   // nginx's current header buffer
  uint32_t buffers_used_ = 0;  // large ones
  uint32_t field_count_ = 0;   // dropped ones included
  const HeadLimits* limits_ = nullptr;
  Span line_, method_, target_, scheme_, authority_, protocol_, reason_;
  bool empty_path_ = false;  // absolute form without a path: the target is "/"
  Failure failure_;
  std::vector<Field> fields_;
  std::vector<Span> ignored_;
};

}  // namespace weir::http::h1
