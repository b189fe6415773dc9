#pragma once

#include "engine/event/foldable.h"

struct ssl_st;
struct ssl_ctx_st;

namespace weir::tls {

// An SSL. The struct itself, half of what an idle connection costs (7.6 KB with OpenSSL 3.0, of
// which little is not zero), stands in a slot that is folded while the connection is idle. That is
// possible because OpenSSL comes to it only from a call that is given the SSL, and those are made
// through this class; the objects around it, of which some are shared, stay where they are. Where
// OpenSSL does not take our allocator, it is an SSL like any other.
class NativeConnection {
 public:
  // Null when SSL_new() fails.
  explicit NativeConnection(ssl_ctx_st* context);
  ~NativeConnection();
  NativeConnection(const NativeConnection&) = delete;
  NativeConnection& operator=(const NativeConnection&) = delete;

  // For a call of OpenSSL: valid until the loop runs.
  operator ssl_st*() const {
    memory_.use();
    return native_;
  }
  bool operator!() const { return native_ == nullptr; }
  explicit operator bool() const { return native_ != nullptr; }

 private:
  ssl_st* native_ = nullptr;
  mutable Foldable memory_;
};

}  // namespace weir::tls
