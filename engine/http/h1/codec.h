#pragma once

#include <memory>

#include "engine/http/codec.h"

namespace weir::http::h1 {

// The HTTP/1 codec (RFC 9112), both roles. A small gate in front of llhttp reads request and status
// lines by nginx's rules; llhttp (strict) parses fields and bodies. See framing.h for the rules.
// Idle size is a few dozen bytes: parser state is made at the first byte of a message and freed by
// release_memory().
//
// `limits` must outlive the codec or be replaced before it goes.
std::unique_ptr<Codec> make_server_codec(CodecReceiver& receiver, const HeadLimits& limits);

struct ClientOptions {
  uint32_t head_limit = 8192;  // proxy_buffer_size: a longer response head is malformed ("upstream
                               // sent too big header")
  bool allow_http_0_9 = false;
};
std::unique_ptr<Codec> make_client_codec(CodecReceiver& receiver, const ClientOptions& options);

}  // namespace weir::http::h1
