#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/slice.h"
#include "engine/event/socket.h"
#include "engine/log/severity.h"

namespace weir {
class Loop;
}

namespace weir::net {

// Why a layer's call failed, where an errno does not say: for the error log, without what was being
// done.
struct LayerFailure {
  Severity severity = Severity::crit;
  std::string text;  // "SSL_read() failed (SSL: error:…)"
  int error_number = 0;
};

// What stands between a Stream's user and its socket: TLS. It is the socket's handler in the user's
// place and passes on what concerns the user: a layer's read may wait for room and its write for
// bytes, so it knows which of the two the user is waiting for. Owned by its Stream; the user may
// close that from inside a callback, so a layer touches nothing of itself after telling the user.
class Layer : public SocketHandler {
 public:
  virtual ~Layer() = default;
  void set_user(SocketHandler* user) { user_ = user; }
  // As Socket's, with the layer's bytes.
  virtual Transfer read(Socket& socket, char* to, size_t size) = 0;
  virtual Transfer peek(Socket& socket, char* to, size_t size) = 0;
  virtual Transfer write(Socket& socket, const iovec* vectors, size_t count, bool more) = 0;
  // Bytes that can be read without any coming from the socket.
  virtual size_t pending() const = 0;
  // Kernel TLS; else files reach write() as memory.
  virtual bool can_send_file() const { return false; }
  virtual Transfer send_file(Socket& socket, int file, off_t offset, size_t size);
  // The layer's own farewell (close_notify). done, or would_block: call again when writable.
  virtual Transfer shutdown(Socket& socket) = 0;
  // After read or write failed; null: the errno tells all.
  virtual const LayerFailure* failure() const { return nullptr; }

 protected:
  SocketHandler* user_ = nullptr;
};

struct WriteLimits {
  size_t bytes = SIZE_MAX;           // limit_rate: no more than these in this call
  size_t send_file_chunk = 2 << 20;  // sendfile_max_chunk; 0: no limit
};

struct WriteResult {
  enum class State : uint8_t {
    done,         // the chain is empty
    would_block,  // on_writable() comes
    limited,      // the limit is used up (or a chunk of a file is: others have their turn)
    failed,       // error is errno; EIO: a file is shorter than it was
  };
  State state = State::done;
  size_t bytes = 0;  // taken from the chain, whatever the state
  int error = 0;
};

// A byte stream: a socket, plain or with a layer on it. The one thing that connections of all
// protocols read from and write to. 40 bytes.
class Stream final {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // As Socket::open.
  bool open(Loop& loop, int descriptor, SocketHandler* handler) {
    layer_.reset();
    return socket_.open(loop, descriptor, handler);
  }
  // The socket itself: start_connect, connect_error, options.
  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }
  bool is_open() const { return socket_.is_open(); }
  int descriptor() const { return socket_.descriptor(); }
  void set_handler(SocketHandler* handler);
  // Puts a layer on; `handler` is told by it from now on.
  void set_layer(std::unique_ptr<Layer> layer, SocketHandler* handler);
  Layer* layer() const { return layer_.get(); }
  bool is_plain() const { return layer_ == nullptr; }

  Transfer read(char* to, size_t size) {
    return layer_ ? layer_->read(socket_, to, size) : socket_.read(to, size);
  }
  Transfer peek(char* to, size_t size) {
    return layer_ ? layer_->peek(socket_, to, size) : socket_.peek(to, size);
  }
  // Could read() give something now? Before going idle: nothing may be left.
  bool maybe_readable() const {
    return socket_.maybe_readable() || (layer_ && layer_->pending() > 0);
  }
  void read_later() {
    // The kernel may have nothing, and the layer something.
    if (layer_ && layer_->pending() > 0) socket_.assume_readable();
    socket_.read_later();
  }

  // Writes as much of the chain as goes, and takes that off it: memory by writev (64 pieces a
  // call), file ranges by sendfile, or read into memory where the layer cannot.
  WriteResult write(Chain& chain, const WriteLimits& limits = {});
  bool can_send_file() const { return !layer_ || layer_->can_send_file(); }

  // Lets go of the connection, for another Stream of this loop (or thread) to take over: the socket
  // is not watched any more, and the layer is the caller's.
  std::unique_ptr<Layer> release_layer() { return std::move(layer_); }
  int release_descriptor() { return socket_.release(); }

  // Ends our direction: the layer's farewell, then FIN. would_block: call again when writable.
  Transfer shutdown();
  // With the layer's farewell, if it goes at once.
  void close();
  void close_with_reset();

 private:
  Transfer write_memory(const Chain& chain, size_t limit);
  Transfer write_file(const Slice& slice, size_t limit);
  Socket socket_;
  std::unique_ptr<Layer> layer_;
};

static_assert(sizeof(Stream) <= 48);

// Reads what `slice` (a file range) names, as much as fits, into `block`; the slice that came of it
// views the block. error is errno; EIO: the file is shorter than it was. Blocks: for Loop::work, or
// for files that are known to be in memory.
struct FileRead {
  Slice slice;
  int error = 0;
};
FileRead read_file_slice(const Slice& slice, Ref<Block> block);
// Reads just so many bytes; 0, or an errno (EIO: there are fewer). May be called from any thread.
int read_file_at(int descriptor, off_t offset, char* to, size_t size);

}  // namespace weir::net
