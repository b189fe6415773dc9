#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>

#include "engine/event/foldable.h"

namespace weir::http::h2 {

// An nghttp2 session and its memory.
//
// A session keeps a buffer of 16 KB in which it builds the frames it sends, and uses it only while
// nghttp2_session_mem_send() is called until it has nothing more: so all sessions of a thread get
// the same one, and an idle connection has none. What else it takes when it is made (9 KB with
// 1.52, most of it zero) stands in a slot that is folded while the connection is idle; a slot has
// no pointers to it but the session's own. What it takes later is malloc's, small pieces through
// free lists of the thread.
class NativeSession {
 public:
  NativeSession();
  ~NativeSession();
  NativeSession(const NativeSession&) = delete;
  NativeSession& operator=(const NativeSession&) = delete;

  // Makes it. `self` is for the callbacks.
  void open(bool server, const nghttp2_session_callbacks* callbacks, void* self,
            const nghttp2_option* options);
  // For a call of nghttp2, which may be the last for a while.
  operator nghttp2_session*() const {
    slot_.use();
    return session_;
  }
  explicit operator bool() const { return session_ != nullptr; }

 private:
  friend struct Allocator;
  nghttp2_mem functions_;
  nghttp2_session* session_ = nullptr;
  mutable Foldable slot_;
  size_t used_ = 0;  // of the slot
  bool making_ = false;
  bool has_frame_buffer_ = false;
};

}  // namespace weir::http::h2
