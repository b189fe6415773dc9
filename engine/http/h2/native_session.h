#pragma once

#include <nghttp2/nghttp2.h>

namespace weir::http::h2 {

// nghttp2's memory. A session keeps a buffer of 16 KB in which it builds the frames it sends, and
// uses it only while nghttp2_session_mem_send() is called until it has nothing more: so all
// sessions of a thread get the same one, and an idle connection has none. Each session needs a
// SessionMemory of its own, which outlives it.
struct SessionMemory {
  SessionMemory();
  nghttp2_mem functions;
  bool has_frame_buffer = false;
};

}  // namespace weir::http::h2
