#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/slice.h"
#include "engine/http/framing.h"
#include "engine/http/message.h"

namespace weir::http::h1 {

// Puts heads and chunk framing into an output chain. Text is copied, in one pass, into a block that
// is shared by everything written until release().
class Writer {
 public:
  // nginx's order: status line, Server, Date, Content-Type, Content-Length, Last-Modified,
  // Location, Transfer-Encoding, Connection, Keep-Alive, then the rest as listed. The list begins
  // with those of Server, Date and Content-Type it has, then those of Last-Modified and Location.
  void response_head(const MessageHead& head, const SentFraming& framing);
  void interim_head(const MessageHead& head);
  // Fields exactly as listed.
  void request_head(const MessageHead& head);
  // Moves the data out, between its size line and the line end.
  void chunk(Chain& data);
  void last_chunk();
  void last_chunk(const HeaderList& trailers);

  Chain& output() { return output_; }
  const Chain& output() const { return output_; }
  // Lets the block go; what waits in the output keeps its own reference.
  void release();

 private:
  char* take(size_t size);
  void put(const char* from, const char* to);

  Chain output_;
  Ref<Block> block_;
  uint32_t used_ = 0;
};

}  // namespace weir::http::h1
