#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/base/slice.h"
#include "engine/event/timer.h"
#include "engine/net/stream.h"

namespace weir::net {

class Relay;

// Who has a relay: told when it is over, and what went wrong on the way.
class RelayOwner {
 public:
  enum class Over : uint8_t {
    ended,      // in order: both ends, or (without half_close) the first
    timed_out,  // nothing moved for the time allowed
    failed,     // reading (with read_error_ends) or writing failed: error
  };
  // Nothing moves any more; the owner may destroy the relay and itself. `by_second`: the side that
  // it ended by (that was read from, or could not be written to).
  virtual void relay_over(Over how, bool by_second, int error) = 0;
  // recv() failed on that side, for the log.
  virtual void relay_read_failed(bool by_second, int error) = 0;

 protected:
  ~RelayOwner() = default;
};

struct RelayOptions {
  uint64_t timeout = 0;         // milliseconds without a byte in either direction; 0: none
  uint64_t send_timeout = 0;    // the same while something waits to be sent; 0: none
  bool half_close = true;       // an end is passed on; else the first end is the end of all
  bool read_error_ends = true;  // else a read that fails is an end of stream
  bool no_delay = false;        // TCP_NODELAY for both, set where it begins to matter
  size_t buffer = 0;            // most bytes of one read of a limited side; 0: a block
  uint64_t first_rate = 0;      // bytes a second taken from that side; 0: no limit
  uint64_t second_rate = 0;
};

// Relays bytes between two streams, both ways. Small pieces go by read and write through a block
// that is held during the call only; after some full reads in a row, plain sockets go over to
// splice(2) through a pipe that is held while bytes are in it. What the other side does not take
// holds its writer back: at most one read's bytes wait on each side. Idle it is this object.
//
// It is the handler of both streams from start() on; they outlive it.
class Relay final {
 public:
  Relay(Loop& loop, RelayOwner& owner, Stream& first, Stream& second, const RelayOptions& options);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Sends what is queued and begins. May end at once, and with that destroy the relay.
  void start();
  // Bytes that go to a side before what the other sends; before start().
  Chain& to_first() { return first_.pending; }
  Chain& to_second() { return second_.pending; }

  // Raw bytes, those queued before start() included in `sent`, not in `received`.
  uint64_t first_received() const { return first_.received; }
  uint64_t first_sent() const { return first_.sent; }
  uint64_t second_received() const { return second_.received; }
  uint64_t second_sent() const { return second_.sent; }
  // Has the first side still to take what was sent to it?
  bool first_waits() const { return has_output(first_); }
  // Loop::now() of the first byte from the second side; 0: none yet.
  uint64_t second_first_byte_at() const { return second_first_byte_at_; }
  // The side that a failure concerned while reading (true) or writing, for the log's context.
  enum class Doing : uint8_t {
    nothing,
    reading_first,
    reading_second,
    writing_first,
    writing_second
  };
  Doing doing() const { return doing_; }

 private:
  struct Pipe;
  struct Rate;
  class Side final : public SocketHandler {
   public:
    Side(Relay& relay, Stream& stream);
    ~Side();
    void on_readable() override { relay_.relay(*this); }
    void on_writable() override { relay_.flushed(*this); }
    bool pauses() const;  // by its rate

    Stream& stream;
    Chain pending;               // waits to be written here
    std::unique_ptr<Pipe> pipe;  // the same, spliced; null while empty
    std::unique_ptr<Rate> rate;  // of reading from here
    uint64_t received = 0;
    uint64_t sent = 0;
    bool ended = false;   // its peer closed this direction
    bool closed = false;  // we closed the other
    bool no_delay_set = false;
    uint8_t full_reads = 0;  // in a row

   private:
    Relay& relay_;
  };

  static void expired(void* self);
  static void rate_time(void* side_rate);
  Side& other(Side& side) { return &side == &first_ ? second_ : first_; }
  bool is_second(const Side& side) const { return &side == &second_; }
  bool has_output(const Side& side) const { return !side.pending.empty() || side.pipe; }

  // These return false when the relay is over (and perhaps gone).
  bool move_once(Side& from, Side& to, bool& again);
  bool splice_once(Side& from, Side& to, bool& again);
  bool take_end(Side& from);
  bool read_failed(Side& from, int error);
  void end_delay(Side& to);
  bool write(Side& to, const char* data, size_t size);
  bool send_queued(Side& to);
  bool flush(Side& to);
  bool flush_pipe(Side& to);
  bool over(RelayOwner::Over how, const Side& by, int error);

  void relay(Side& from);
  void flushed(Side& to);
  // How many bytes may be read now; 0: later, by a timer.
  size_t allowance(Side& from, size_t wanted);
  void count(Side& from, size_t bytes);
  void arm();

  Loop& loop_;
  RelayOwner& owner_;
  Timer timer_;
  uint32_t timeout_;
  uint32_t send_timeout_;
  uint32_t buffer_;
  bool half_close_;
  bool read_error_ends_;
  bool no_delay_;
  bool is_over_ = false;
  Doing doing_ = Doing::nothing;
  uint64_t second_first_byte_at_ = 0;
  Side first_;
  Side second_;
};

}  // namespace weir::net
