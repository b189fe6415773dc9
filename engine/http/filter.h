#pragma once

#include "engine/base/slice.h"

namespace weir::http {

class Request;

// Head filters: a flat list, run in order once per response, before the head goes out. A filter may
// change the Response, and may install a body filter for this request (Request::add_body_filter).
using HeadFilter = void (*)(Request&);

// One link of a request's body chain, in the order installed; the writer is behind the last. Made
// in the request's arena. A filter forwards with `forward`, possibly later, possibly several times.
class BodyFilter {
 public:
  // `last`: the final data of this response (with possibly nothing in `data`). `flush`: pass what
  // you hold. Returns nothing: back-pressure is asked at the writer (Request::output_ready).
  virtual void on_data(Request& request, Chain&& data, bool last, bool flush) = 0;
  // A filter that must see bytes answers true: file ranges before it are read into memory.
  virtual bool needs_bytes() const { return false; }
  // A filter of the main request that also sees the output of its inline subrequests (ranges,
  // compression). Others see only what their own request sends.
  virtual bool joins_subrequests() const { return false; }

 protected:
  ~BodyFilter() = default;
  void forward(Request& request, Chain&& data, bool last, bool flush) const;

 private:
  friend class Request;
  BodyFilter* next_filter_ = nullptr;
};

}  // namespace weir::http
