#include "engine/net/relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "engine/event/loop.h"
#include "engine/net/byte_rate.h"
#include "engine/net/socket_options.h"

namespace weir::net {
namespace {

// Moves of one direction before other connections have their turn.
constexpr int kMovesInARow = 8;
// Full reads in a row before splice: it costs one call more, which pays for large pieces only.
constexpr int kFullReads = 2;
// As large as it may be without privileges: a page takes a slot, and each round of calls costs the
// same for few and for many.
constexpr int kPipeSize = 1024 * 1024;
constexpr size_t kSplicePiece = 1 << 20;
// A splice that brings less than this says that the bulk is over.
constexpr size_t kSmallPiece = 16 * 1024;
constexpr size_t kPooledPipes = 32;

// Where bytes are between read and write. Never held across an event.
char* scratch() {
  thread_local std::unique_ptr<char[]> block(new char[Block::kBlockSize]);
  return block.get();
}

struct PipeEnds {
  int read = -1;
  int write = -1;
};

// Empty pipes of this thread.
class PipePool {
 public:
  ~PipePool() {
    while (count_ > 0) close_pipe(pipes_[--count_]);
  }
  static void close_pipe(const PipeEnds& pipe) {
    ::close(pipe.read);
    ::close(pipe.write);
  }
  // -1 when the system has none.
  PipeEnds take() {
    if (count_ > 0) return pipes_[--count_];
    int ends[2];
    if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return {};
    ::fcntl(ends[1], F_SETPIPE_SZ, kPipeSize);  // refused: a small one works too
    return {ends[0], ends[1]};
  }
  void give(const PipeEnds& pipe) {
    if (count_ == pipes_.size()) {
      close_pipe(pipe);
    } else {
      pipes_[count_++] = pipe;
    }
  }

 private:
  std::array<PipeEnds, kPooledPipes> pipes_;
  size_t count_ = 0;
};

PipePool& pipe_pool() {
  thread_local PipePool pool;
  return pool;
}

ssize_t splice_some(int from, int to, size_t size) {
  ssize_t moved;
  do {
    moved = ::splice(from, nullptr, to, nullptr, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (moved < 0 && errno == EINTR);
  return moved;
}

uint32_t to_32(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

// Bytes on their way from socket to socket. Goes back to the pool when it is empty.
struct Relay::Pipe {
  PipeEnds ends;
  size_t bytes = 0;
  ~Pipe() {
    if (ends.read < 0) return;
    if (bytes == 0) {
      pipe_pool().give(ends);
    } else {
      PipePool::close_pipe(ends);
    }
  }
};

// What one side may bring, and its pauses.
struct Relay::Rate {
  Rate(Relay& relay, Side& side, uint64_t bytes_per_second)
      : relay(relay),
        side(side),
        bytes(bytes_per_second, relay.loop_.wall_milliseconds()),
        timer(&Relay::rate_time, this) {}
  Relay& relay;
  Side& side;
  ByteRate bytes;
  Timer timer;
};

Relay::Side::Side(Relay& relay, Stream& stream) : stream(stream), relay_(relay) {}

Relay::Side::~Side() = default;

bool Relay::Side::pauses() const {
  return rate && rate->timer.armed();
}

Relay::Relay(Loop& loop, RelayOwner& owner, Stream& first, Stream& second,
             const RelayOptions& options)
    : loop_(loop),
      owner_(owner),
      timer_(&Relay::expired, this),
      timeout_(to_32(options.timeout)),
      send_timeout_(to_32(options.send_timeout)),
      buffer_(to_32(std::min(options.buffer, Block::kBlockSize))),
      half_close_(options.half_close),
      read_error_ends_(options.read_error_ends),
      no_delay_(options.no_delay),
      first_(*this, first),
      second_(*this, second) {
  if (options.first_rate) first_.rate = std::make_unique<Rate>(*this, first_, options.first_rate);
  if (options.second_rate)
    second_.rate = std::make_unique<Rate>(*this, second_, options.second_rate);
}

Relay::~Relay() = default;

void Relay::start() {
  first_.stream.set_handler(&first_);
  second_.stream.set_handler(&second_);
  arm();
  if (!send_queued(first_) || !send_queued(second_)) return;
  // Bytes may have come before we listened.
  first_.stream.read_later();
  second_.stream.read_later();
}

// With what the other side has sent already, in one packet.
bool Relay::send_queued(Side& to) {
  if (to.pending.empty()) return true;
  bool again = true;
  return move_once(other(to), to, again) && flush(to);
}

void Relay::arm() {
  uint32_t limit = timeout_;
  const bool sending = send_timeout_ && (has_output(first_) || has_output(second_));
  if (sending && (!limit || send_timeout_ < limit)) limit = send_timeout_;
  if (limit) {
    timer_.arm(loop_, limit);
  } else {
    timer_.cancel();
  }
}

void Relay::expired(void* self) {
  auto& relay = *static_cast<Relay*>(self);
  // A pause is not silence: time counts from its end on.
  if (relay.first_.pauses() || relay.second_.pauses()) return relay.arm();
  relay.doing_ = Doing::nothing;
  relay.over(RelayOwner::Over::timed_out, relay.first_, ETIMEDOUT);
}

bool Relay::over(RelayOwner::Over how, const Side& by, int error) {
  if (is_over_) return false;
  is_over_ = true;
  timer_.cancel();
  owner_.relay_over(how, is_second(by), error);
  return false;
}

// --- rates

void Relay::rate_time(void* side_rate) {
  auto& rate = *static_cast<Rate*>(side_rate);
  rate.relay.relay(rate.side);
}

size_t Relay::allowance(Side& from, size_t wanted) {
  Rate* rate = from.rate.get();
  if (!rate) return wanted;
  if (rate->timer.armed()) return 0;
  if (buffer_) wanted = std::min<size_t>(wanted, buffer_);
  const int64_t now = loop_.wall_milliseconds();
  const uint64_t allowed = rate->bytes.allowance(from.received, now);
  if (allowed == 0) rate->timer.arm(loop_, rate->bytes.wait(from.received, now));
  return std::min<uint64_t>(wanted, allowed);
}

void Relay::count(Side& from, size_t bytes) {
  if (is_second(from) && from.received == 0) second_first_byte_at_ = loop_.now();
  from.received += bytes;
  if (!from.rate) return;
  const uint64_t pause = from.rate->bytes.pause(bytes);
  if (pause > 0) from.rate->timer.arm(loop_, pause);
}

// --- writing

// Nagle's algorithm holds back a small piece behind another that is not acknowledged. So a side
// that is written to once, as most of short sessions are, needs no option.
void Relay::end_delay(Side& to) {
  if (!no_delay_ || to.no_delay_set || (to.sent == 0 && to.stream.is_plain())) return;
  to.no_delay_set = true;
  (void)set_no_delay(to.stream.descriptor(), true);  // refused by unix sockets
}

bool Relay::write(Side& to, const char* data, size_t size) {
  if (to.closed) return true;  // nobody takes it any more
  end_delay(to);
  if (to.pending.empty() && to.stream.is_plain()) {
    iovec vector{const_cast<char*>(data), size};
    const Transfer moved = to.stream.socket().write(&vector, 1);
    if (moved.state == Transfer::State::failed) {
      return over(RelayOwner::Over::failed, to, moved.error);
    }
    const size_t bytes = moved.state == Transfer::State::done ? moved.bytes : 0;
    to.sent += bytes;
    data += bytes;
    size -= bytes;
    if (size == 0) return true;
  }
  to.pending.push(Slice::copy_of({data, size}));
  return flush(to);
}

bool Relay::flush(Side& to) {
  doing_ = is_second(to) ? Doing::writing_second : Doing::writing_first;
  if (to.pipe && !flush_pipe(to)) return false;
  if (!to.pending.empty()) end_delay(to);
  while (!to.pending.empty()) {
    const WriteResult result = to.stream.write(to.pending);
    to.sent += result.bytes;
    if (result.state == WriteResult::State::failed) {
      return over(RelayOwner::Over::failed, to, result.error);
    }
    if (result.state == WriteResult::State::would_block) return true;
  }
  to.pending.release();
  return true;
}

bool Relay::flush_pipe(Side& to) {
  Socket& socket = to.stream.socket();
  while (to.pipe->bytes > 0) {
    if (!socket.maybe_writable()) return true;
    const ssize_t moved = splice_some(to.pipe->ends.read, socket.descriptor(), to.pipe->bytes);
    if (moved < 0 && errno == EAGAIN) {
      socket.saw_full();
      return true;
    }
    if (moved <= 0) return over(RelayOwner::Over::failed, to, moved < 0 ? errno : EIO);
    to.sent += static_cast<size_t>(moved);
    to.pipe->bytes -= static_cast<size_t>(moved);
  }
  to.pipe.reset();
  return true;
}

// --- reading

bool Relay::read_failed(Side& from, int error) {
  owner_.relay_read_failed(is_second(from), error);
  if (read_error_ends_) return over(RelayOwner::Over::failed, from, error);
  from.ended = true;
  return true;
}

bool Relay::splice_once(Side& from, Side& to, bool& again) {
  Socket& socket = from.stream.socket();
  auto pipe = std::make_unique<Pipe>();
  pipe->ends = pipe_pool().take();
  if (pipe->ends.read < 0) {
    from.full_reads = 0;  // no pipe left: by hand
    return true;
  }
  const ssize_t moved = splice_some(socket.descriptor(), pipe->ends.write, kSplicePiece);
  if (moved < 0 && errno == EAGAIN) {
    socket.saw_drained();
    from.full_reads = 0;
    again = false;
    return true;
  }
  if (moved < 0) return read_failed(from, errno);
  if (moved == 0) {
    from.ended = true;
    return true;
  }
  const auto bytes = static_cast<size_t>(moved);
  count(from, bytes);
  if (bytes < kSmallPiece) from.full_reads = 0;
  pipe->bytes = bytes;
  to.pipe = std::move(pipe);
  return flush(to);
}

bool Relay::move_once(Side& from, Side& to, bool& again) {
  const size_t size = allowance(from, Block::kBlockSize);
  if (size == 0) {
    again = false;
    return true;
  }
  doing_ = is_second(from) ? Doing::reading_second : Doing::reading_first;
  const bool plain = from.stream.is_plain() && to.stream.is_plain();
  if (from.full_reads >= kFullReads && plain && !to.closed && !from.rate) {
    return splice_once(from, to, again);
  }
  char* const block = scratch();
  const Transfer moved = from.stream.read(block, size);
  switch (moved.state) {
    case Transfer::State::would_block:
      from.full_reads = 0;
      again = false;
      return true;
    case Transfer::State::failed:
      return read_failed(from, moved.error);
    case Transfer::State::end:
      from.ended = true;
      return true;
    case Transfer::State::done:
      break;
  }
  count(from, moved.bytes);
  if (moved.bytes == Block::kBlockSize) {
    if (from.full_reads < kFullReads) ++from.full_reads;
  } else {
    from.full_reads = 0;
  }
  doing_ = is_second(to) ? Doing::writing_second : Doing::writing_first;
  return write(to, block, moved.bytes);
}

// Passes an end of stream on when everything before it is out.
bool Relay::take_end(Side& from) {
  Side& to = other(from);
  if (!half_close_) {
    // What the living side has still to get is sent first.
    const bool first_waits = !first_.ended && has_output(first_);
    const bool second_waits = !second_.ended && has_output(second_);
    if (first_waits || second_waits) return true;
    return over(RelayOwner::Over::ended, from, 0);
  }
  if (!to.closed && !has_output(to)) {
    if (to.stream.shutdown().state == Transfer::State::would_block) return true;
    to.closed = true;
  }
  if (first_.ended && second_.ended && first_.closed && second_.closed) {
    return over(RelayOwner::Over::ended, from, 0);
  }
  return true;
}

void Relay::relay(Side& from) {
  if (is_over_) return;
  Side& to = other(from);
  arm();
  for (int moves = 0; !from.ended; ++moves) {
    // A slow reader holds its writer back.
    if (has_output(to) || !from.stream.maybe_readable()) return;
    if (moves == kMovesInARow) return from.stream.read_later();
    bool again = true;
    if (!move_once(from, to, again)) return;
    if (!again) return;
  }
  take_end(from);
}

void Relay::flushed(Side& to) {
  if (is_over_) return;
  arm();
  if (!flush(to)) return;
  if (has_output(to)) return;
  Side& from = other(to);
  if (from.ended) {
    take_end(from);
  } else if (to.ended && !half_close_) {
    take_end(to);
  } else {
    relay(from);
  }
}

}  // namespace weir::net
