#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/arena.h"
#include "engine/net/address.h"

namespace weir::http {

// What a PROXY protocol header said ($proxy_protocol_*).
struct ProxyProtocolFacts {
  std::string source;  // address text without port; "" for LOCAL and UNKNOWN
  std::string destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  std::vector<std::pair<uint8_t, std::string>> values;  // version 2's typed values, in order
};

// Facts about one client connection. Owned by its session (by the tunnel after a handover); small,
// because idle connections hold it. Texts are made when somebody asks.
struct ConnectionFacts {
  uint64_t serial = 0;        // $connection
  uint64_t accepted_at = 0;   // Loop::now() time
  int64_t accepted_wall = 0;  // milliseconds since the epoch
  uint64_t requests = 0;      // begun so far, the current one included ($connection_requests)
  int descriptor = -1;        // for TCP_INFO; -1 when there is no socket behind
  net::Address peer;          // as accepted ($remote_addr before realip changes it)
  std::unique_ptr<ProxyProtocolFacts> proxy_protocol;  // null: the listener does not ask for it

  // The address the client connected to: from the socket, on first use.
  const net::Address& local() const;

 private:
  mutable std::unique_ptr<net::Address> local_;
};

}  // namespace weir::http
