#pragma once

#include <cstdint>
#include <memory>

#include "engine/http/codec.h"

// The HTTP/2 codec (RFC 9113), both roles. Frames, HPACK and stream states are nghttp2's; what a
// message is, what its fields may be and what a peer may cost is decided here.
//
// Streams: on_begin comes with the first frame of a message. A stream that has ended both ways is
// still held, for its counters, until forget(); so is one that was reset. StreamId is a handle of
// this codec, not the number on the wire. Nothing pauses: feed() takes everything, what a receiver
// owes keeps the peer's windows closed. Input that comes after a connection error is dropped.
//
// send_data() takes what the peer's windows allow; is_blocked() tells that they held something
// back, and on_writable() comes when they open. Those are called after the frames of a feed() were
// processed, one stream after another, each time beginning behind the one that came first before.
namespace weir::http::h2 {

struct ServerOptions {
  uint32_t max_concurrent_streams = 128;  // http2_max_concurrent_streams
  uint32_t body_preread_size = 65536;     // http2_body_preread_size: window of a request body
  bool extended_connect = false;          // http2_extended_connect (RFC 8441)
};

// Sending: as for HTTP/1, but names go out in lower case and fields that belong to a connection
// (RFC 9113 section 8.2.2) stay behind. A malformed request is reported by on_reset with its status
// and can be answered as any other; one that breaks off is reset.
//
// `limits` must outlive the codec.
std::unique_ptr<Codec> make_server_codec(CodecReceiver& receiver, const HeadLimits& limits,
                                         const ServerOptions& options);

struct ClientOptions {
  uint32_t head_limit = 8192;  // a longer response head is malformed ("upstream sent too big
                               // header")
  uint32_t stream_window = 128 * 1024;
  uint32_t connection_window = 16 * 1024 * 1024;
  // Streams at once before the peer's SETTINGS have come (RFC 9113 section 6.5.2 recommends no
  // less than 100).
  uint32_t first_streams = 100;
};

// Sending: :method, :scheme ("http" when empty), :authority (`authority`, else the Host field) and
// :path of the head, then its fields, by the server's rules; `te: trailers` stays. A stream that
// the peer did not process (REFUSED_STREAM, above the last of a GOAWAY) is reset as `refused`,
// retry_safe. RST_STREAM with NO_ERROR after a whole response is no reset (RFC 9113 section 8.1).
std::unique_ptr<Codec> make_client_codec(CodecReceiver& receiver, const ClientOptions& options);

// What a client sends first (RFC 9113 section 3.4).
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

}  // namespace weir::http::h2
