#pragma once

#include <memory>

#include "engine/http/codec.h"

namespace weir::http::h1 {

// The HTTP/1 codec (RFC 9112), both roles, by nginx's rules where it is not stricter. See framing.h
// for what ends a message. Idle size is a few dozen bytes: parser state is taken from a free list
// of the thread at the first byte of a head and given back when head and chunked body are read.
//
// feed() returns less than it was given: at the end of a message (server role, until
// next_exchange()), and while the receiver owes 128 KB of credit (until consumed()). Feed the rest
// again after either.
//
// on_begin comes when a head is complete or refused, not at its first byte; idle() tells that bytes
// of one are held. When a client takes too long, call end_of_input(): it reports what was read, as
// on_begin and on_reset with Reset::head.
//
// Server role, sending: head.keep_alive is the sender's wish; what the request and the framing
// allow decides. head.body.kind `none` and `exact` give Content-Length, `chunked` is for unknown
// lengths, `until_close` asks for that. The list has no Content-Length, Transfer-Encoding,
// Connection or Keep-Alive; it begins with those of Server, Date, Content-Type it has, then
// Last-Modified, Location. After a reset the answer is sent as for any request; reusable() stays
// false. 101: `Connection: upgrade` is written; bytes behind the request are reported by
// on_upgraded and on_data, from the next feed() on; end_of_input() gives on_end. HTTP/0.9: no head
// is written.
//
// Client role, sending: request line and fields exactly as listed, chunk framing when
// head.body.kind is `chunked`. head.upgrade says that the fields carry Upgrade: only then, and only
// when the request has been sent whole, a 101 is accepted (on_head, then on_upgraded).
//
// `limits` must outlive the codec.
std::unique_ptr<Codec> make_server_codec(CodecReceiver& receiver, const HeadLimits& limits);

struct ClientOptions {
  uint32_t head_limit = 8192;  // proxy_buffer_size: a longer response head is malformed ("upstream
                               // sent too big header")
  bool allow_http_0_9 = false;
};
std::unique_ptr<Codec> make_client_codec(CodecReceiver& receiver, const ClientOptions& options);

}  // namespace weir::http::h1
