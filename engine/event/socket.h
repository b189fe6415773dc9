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
  // When both are due, on_readable comes first: an answer that came before a broken write is seen.
  virtual void on_writable() = 0;

 protected:
  ~SocketHandler() = default;
};

// A non-blocking stream descriptor in the loop's edge-triggered set. Owns the descriptor. Events of
// the current batch that name a destroyed Socket are dropped. 32 bytes: idle connections hold one.
// Destroyed before its Loop. The descriptor's open file must not be shared (dup, fork) while it is
// registered, or closing would not take it out of the set; release() takes it out for handing it
// on.
class Socket {
 public:
  Socket() = default;
  // Registers `descriptor` (made non-blocking by the caller: accept4, socket). The handler outlives
  // the Socket. When the kernel refuses (out of memory or watches), the descriptor is closed and
  // is_open() is false.
  Socket(Loop& loop, int descriptor, SocketHandler* handler);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  // False when the kernel refused; errno says why.
  bool open(Loop& loop, int descriptor, SocketHandler* handler);
  // After open(), for a connect() under way: the next on_writable() tells of its end, and neither
  // on_readable() nor a write comes before it.
  void expect_connect();
  void set_handler(SocketHandler* handler) { handler_ = handler; }
  void close();
  // RST instead of FIN (SO_LINGER 0).
  void close_with_reset();
  // Deregisters and gives the descriptor up.
  int release();
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  Loop* loop() const { return loop_; }

  Transfer read(char* to, size_t size);  // size > 0
  // Looks at what read() would give, without taking it: to see whether a waiting peer has left.
  Transfer peek(char* to, size_t size);
  // `more`: the caller writes on at once, so the kernel may wait to fill a packet (MSG_MORE).
  Transfer write(const iovec* vectors, size_t count, bool more = false);
  // sendfile(2); bytes 0 with done never happens (a shrunken file is failed/EIO).
  Transfer send_file(int file, off_t offset, size_t size);
  void shutdown_write();
  // Why a connect that is finished failed (SO_ERROR); 0 when connected, which costs no call where
  // the event has said so.
  int connect_error();
  bool connecting() const { return connecting_; }
  // True when the last edge said readable and nobody has read to would_block since.
  bool maybe_readable() const { return readable_; }
  bool maybe_writable() const { return writable_; }
  bool peer_closed() const { return peer_closed_; }  // EPOLLRDHUP seen
  // on_readable() again in the next round, if it is still readable then.
  void read_later();
  // For layers that call the descriptor themselves (TLS, splice): what they learned by EAGAIN. Only
  // after a call has really said so, or the next edge never comes.
  void saw_drained() { readable_ = false; }
  void saw_full() { writable_ = false; }
  // A layer holds bytes that came: reading is worth a try.
  void assume_readable() { readable_ = true; }

 private:
  friend class Loop;
  void deregister();
  Loop* loop_ = nullptr;
  SocketHandler* handler_ = nullptr;
  int descriptor_ = -1;
  uint32_t place_ = 0;  // in the batch under way, from 1; 0: none
  bool readable_ = false;
  bool writable_ = true;
  bool peer_closed_ = false;
  bool queued_ = false;
  bool connecting_ = false;
  bool maybe_failed_ = true;  // connect: the event told of an error, or none has come
};
static_assert(sizeof(Socket) <= 40);

}  // namespace weir
