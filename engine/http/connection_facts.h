#pragma once

#include <cstdint>
#include <memory>

#include "engine/net/address.h"
#include "engine/net/proxy_protocol.h"

namespace weir::tls {
class ServerLayer;
}

namespace weir::http {

// Facts about one client connection. Owned by its session (by the tunnel after a handover); small,
// because idle connections hold it. Texts are made when somebody asks.
struct ConnectionFacts {
  uint64_t serial = 0;        // $connection
  uint64_t accepted_at = 0;   // Loop::now() time
  int64_t accepted_wall = 0;  // milliseconds since the epoch
  uint64_t requests =
      0;                // begun so far, the current one included (Exchange::number() is one's own)
  int descriptor = -1;  // for TCP_INFO; -1 when there is no socket behind
  net::Address peer;    // as accepted ($remote_addr before realip changes it)
  // What the PROXY protocol header said; null: the listener does not ask for one.
  std::unique_ptr<net::ProxyHeader> proxy_protocol;
  const tls::ServerLayer* tls = nullptr;  // the stream's layer; null: plain
  bool plain_on_tls = false;              // spoke plain text to a TLS port: gets 497

  // The address the client connected to: from the socket, on first use.
  const net::Address& local() const;

 private:
  mutable std::unique_ptr<net::Address> local_;
};

}  // namespace weir::http
