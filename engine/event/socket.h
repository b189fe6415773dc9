#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace weir {

class Loop;

// Result of a non-blocking call.
struct Transfer {
  enum class State : uint8_t {
    done,         // bytes > 0 moved (for read: fewer than asked means drained)
    would_block,  // nothing moved; the handler will be told
    end,          // read: the peer closed its direction
    failed,       // error is errno
  };
  State state = State::done;
  size_t bytes = 0;
  int error = 0;
};

// Who is told about a socket. Called from the loop's top level; may destroy the Socket from inside.
class SocketHandler {
 public:
  // Bytes, end of stream or an error can be read. Told once per edge: read until would_block/end or
  // call Socket::read_later(), which tells again in the next round (fairness).
  virtual void on_readable() = 0;
  // Room in the send buffer after a write would block, or connect() finished (see connect_error).
  virtual void on_writable() = 0;

 protected:
  ~SocketHandler() = default;
};

// A non-blocking stream descriptor in the loop's edge-triggered set. Owns the descriptor. Events of
// the current batch that name a destroyed Socket are dropped. 32 bytes or little more: idle
// connections hold one.
class Socket {
 public:
  Socket() = default;
  // Registers `descriptor` (made non-blocking by the caller: accept4, socket). The handler outlives
  // the Socket.
  Socket(Loop& loop, int descriptor, SocketHandler* handler);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  void open(Loop& loop, int descriptor, SocketHandler* handler);
  void set_handler(SocketHandler* handler) { handler_ = handler; }
  void close();
  // RST instead of FIN (SO_LINGER 0).
  void close_with_reset();
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  Transfer read(char* to, size_t size);
  Transfer write(const iovec* vectors, size_t count);
  // sendfile(2); bytes 0 with done never happens (a shrunken file is failed/EIO).
  Transfer send_file(int file, off_t offset, size_t size);
  void shutdown_write();
  // SO_ERROR of a finished connect; 0 when connected.
  int connect_error();
  // True when the last edge said readable and nobody has read to would_block since.
  bool maybe_readable() const { return readable_; }
  bool peer_closed() const { return peer_closed_; }  // EPOLLRDHUP seen
  void read_later();

 private:
  friend class Loop;
  Loop* loop_ = nullptr;
  SocketHandler* handler_ = nullptr;
  int descriptor_ = -1;
  uint32_t slot_ = 0;
  bool readable_ = false;
  bool writable_ = true;
  bool peer_closed_ = false;
  bool queued_ = false;
};

}  // namespace weir
