#pragma once

#include <cstdint>
#include <string>

#include "engine/async/task.h"
#include "engine/base/slice.h"
#include "engine/http/message.h"

namespace weir::http {

class Request;
class Exchange;

// The body of a client request. Nothing is read from the client until somebody asks. One of:
// read_all (kept in memory up to client_body_buffer_size, then in a temp file; may be sent again on
// retries), streaming (request buffering off), or discard.
//
// client_max_body_size is checked at find_config for declared lengths (413) and while reading.
// Expect: 100-continue is answered when reading begins.
class RequestBody {
 public:
  virtual ~RequestBody() = default;
  bool present() const {
    return length_.kind != BodyLength::Kind::none &&
           !(length_.kind == BodyLength::Kind::exact && length_.bytes == 0);
  }
  const BodyLength& length() const { return length_; }
  uint64_t received() const { return received_; }  // decoded bytes so far

  // 0, or the status to end with: 413, 400, 408, 500; 499 when the client left.
  virtual Task<int> read_all(Request& request) = 0;
  // Somebody reads, or has read, all of it (client_body_early_read): it will not be streamed.
  virtual bool is_kept() const { return false; }
  // Nobody asked yet, and all of it is there, no larger than what a head may be: to store it costs
  // nothing, whoever wanted to stream it.
  virtual bool came_whole() const { return false; }
  // Nobody wanted it: nothing of it counts.
  virtual bool is_dropped() const { return false; }
  // After read_all: the whole body: memory slices, then a file range. Copy before consuming.
  virtual const Chain& stored() const = 0;
  virtual uint64_t stored_bytes() const = 0;
  virtual std::string_view temp_file_name() const = 0;  // "" when in memory

  // Streaming: begin() once; then arrived() fills as the client sends (event() rings); the reader
  // takes slices and returns credit with consumed(). ended(): all is in arrived(). error(): status
  // as above.
  virtual void begin_streaming(Request& request) = 0;
  virtual Chain& arrived() = 0;
  virtual void consumed(size_t bytes) = 0;
  virtual bool ended() const = 0;
  virtual int error() const = 0;
  virtual const HeaderList& trailers() const = 0;

  // Reads and drops what is left, within lingering limits; called by the exchange.
  virtual void discard() = 0;

 protected:
  BodyLength length_;
  uint64_t received_ = 0;
};

}  // namespace weir::http
