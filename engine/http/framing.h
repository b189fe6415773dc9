#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/base/arena.h"
#include "engine/http/message.h"

// Every rule about where an HTTP/1 message ends, what may follow it on the connection, and which
// fields belong to one connection only. Codecs and gateways ask here; nobody decides alone.
namespace weir::http {

// RFC 9110 section 8.6: digits only, and less than 2^63 (nginx's limit).
std::optional<uint64_t> parse_content_length(std::string_view text);

// What a head's fields mean for the body. `status` 0: they are in order. Otherwise what a server
// answers, and nginx's words for the log (static text or in the arena).
struct BodyVerdict {
  BodyLength body;
  int status = 0;
  const char* reason = nullptr;
  // Refused at the field whose value ends here; null: at the head's end.
  const char* until = nullptr;
};
// RFC 9112 section 6.3 for requests, made strict: repeated fields, Content-Length with
// Transfer-Encoding and Transfer-Encoding in HTTP/1.0 are refused (400), codings other than one
// `chunked` too (501). Also the other checks nginx makes of a whole request head: repeated fields
// that may come once, Host (missing, invalid); fills head.host.
BodyVerdict judge_request(Arena& arena, MessageHead& head);

// For fields that a request carries at most once in nginx (repeating them is an error, not a list):
// a bit of their own. 0 for others.
constexpr uint64_t once_bit(HeaderId id) {
  switch (id) {
    case HeaderId::host:
    case HeaderId::if_modified_since:
    case HeaderId::if_unmodified_since:
    case HeaderId::if_match:
    case HeaderId::if_none_match:
    case HeaderId::content_length:
    case HeaderId::content_range:
    case HeaderId::if_range:
    case HeaderId::transfer_encoding:
    case HeaderId::expect:
    case HeaderId::authorization:
      return uint64_t{1} << static_cast<unsigned>(id);
    default:
      return 0;
  }
}

// What a client remembers of its request to read the answer.
struct RequestFacts {
  Method method = Method::unknown;
  bool upgrade = false;  // it carried Upgrade, and its own client asked for that
};
// RFC 9112 section 6.3 for final responses and 101, equally strict.
BodyVerdict judge_response(Arena& arena, const MessageHead& head, const RequestFacts& request);

// RFC 9112 section 9.3, with nginx's reading of Connection. A response in HTTP/1.0 never keeps.
bool request_keeps_alive(const MessageHead& head);
bool response_keeps_alive(const MessageHead& head);

// How a response is framed to the client (RFC 9112 sections 6.1 to 6.3, RFC 9110
// sections 6.4.1, 8.6).
struct SentFraming {
  enum class Body : uint8_t {
    absent,  // HEAD, 1xx, 204, 304: bytes of a body are dropped
    exact,
    chunked,
    until_close,
    raw,  // 101
  };
  Body body = Body::absent;
  bool content_length = false;  // write Content-Length: head.body.bytes
  bool keep_alive = false;
};
struct ReceivedFacts {
  Method method = Method::unknown;
  Version version = Version::http_1_0;
  bool keep_alive = false;
};
SentFraming frame_response(const MessageHead& head, const ReceivedFacts& request);

// Fields for one connection, never forwarded as received (RFC 9110 section 7.6.1).
bool is_hop_by_hop(HeaderId id);
// Is `token` in the comma list? Case does not matter.
bool has_token(std::string_view list, std::string_view token);

// nginx's rules for a host, from Host or the request line: port and final dot go, letters become
// lower case, empty labels, slashes, blanks and control characters are refused. Nothing when
// refused.
std::optional<std::string_view> validate_host(Arena& arena, std::string_view host);

}  // namespace weir::http
