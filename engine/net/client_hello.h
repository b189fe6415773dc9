#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::net {

// What the first message of a TLS client says (RFC 8446, section 4.1.2), read without answering it.
struct ClientHello {
  uint16_t version = 0;     // the highest that the client offers
  std::string server_name;  // as sent; empty: none
  std::string alpn;         // protocol names with commas between
};

// Reads a ClientHello that comes in pieces, possibly over several records. Bounded by what it is
// given: the caller limits the bytes it looks at.
class ClientHelloReader {
 public:
  enum class State : uint8_t {
    need_more,
    done,
    not_tls,  // something else speaks here: nothing is known of it
    broken,   // error() says how
  };
  // `bytes` is all that has come so far.
  State read(std::string_view bytes);
  // After done.
  ClientHello& hello() { return hello_; }
  // After broken: nginx's words for the log.
  const std::string& error() const { return error_; }

 private:
  State read_old_hello(std::string_view bytes);
  State parse(std::string_view body);
  bool parse_extensions(std::string_view bytes);
  bool parse_server_names(std::string_view bytes);
  bool parse_protocols(std::string_view bytes);
  bool parse_versions(std::string_view bytes);
  ClientHello hello_;
  std::string error_;
};

}  // namespace weir::net
