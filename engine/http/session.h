#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "confparse/ref.h"
#include "engine/http/codec.h"
#include "engine/net/address.h"

namespace weir {
class Generation;
struct Worker;
}  // namespace weir

namespace weir::http {

class Session;

// Makes the codec of an accepted connection (h1::make_server_codec; tests bring their own). The
// limits stay at one place in the session, which refreshes them when the configuration changes.
using CodecFactory = std::unique_ptr<Codec> (*)(CodecReceiver&, const HeadLimits&);

// The client connections of one worker. Made after the fork with the Worker, destroyed before it.
class Sessions {
 public:
  explicit Sessions(Worker& worker, CodecFactory factory = nullptr);
  ~Sessions();  // closes all
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // A connection accepted (non-blocking, close-on-exec) on resource `resource` of the current
  // generation (an index into Resources::listeners). Takes the descriptor in any case. Counts in
  // Worker::connections.
  void accept(int descriptor, const net::Address& peer, size_t resource);

  // After Worker::draining was set: closes idle connections; the others answer with "Connection:
  // close" and go. on_empty is called when the last is gone (also at once).
  void drain();
  // After Worker::generation was replaced; `before` is the one it replaced. Connections keep their
  // listener by its address; those whose listener is gone close when they are idle.
  void generation_changed(const Generation& before);
  // Closes all at once, with what they are doing (worker_shutdown_timeout, TERM).
  void close_all();

  size_t count() const { return count_; }
  std::function<void()> on_empty;

 private:
  friend class Session;
  Worker& worker_;
  CodecFactory factory_;
  Session* first_ = nullptr;
  size_t count_ = 0;
};

}  // namespace weir::http
