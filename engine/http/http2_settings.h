#pragma once

#include "confparse/value.h"

namespace weir::http {

// ngx_http_v2_module: what sessions and responses ask. Per server, chunk_size per location.
struct Http2Settings {
  bool enabled = false;  // http2; `listen … http2` is the listener's
  conf::Number max_concurrent_streams{128};
  conf::Bytes body_preread_size{65536};
  conf::Bytes chunk_size{8192};
  bool extended_connect = false;  // http2_extended_connect (RFC 8441)
  // Checked only: memory has other sizes here.
  conf::Bytes pool_size{4096}, recv_buffer_size{262144};
  conf::Number streams_index_size{32};
};

}  // namespace weir::http
