#include "engine/http/tunnel.h"

#include <cerrno>
#include <cstring>

#include "engine/event/timer.h"
#include "engine/http/graph.h"
#include "engine/http/tunnel_handover.h"
#include "engine/net/socket_options.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

// Reads of one direction before other connections have their turn.
constexpr int kReadsInARow = 8;

class Tunnel;
thread_local Tunnel* first_tunnel = nullptr;
thread_local size_t tunnels = 0;

// Where bytes are between read and write. Never held across an event.
char* scratch() {
  thread_local std::unique_ptr<char[]> block(new char[Block::kBlockSize]);
  return block.get();
}

// One end, and what waits to be written to it.
class Side final : public SocketHandler {
 public:
  explicit Side(Tunnel& tunnel) : tunnel_(tunnel) {}
  void on_readable() override;
  void on_writable() override;

  std::unique_ptr<net::Stream> stream;
  Chain pending;
  uint64_t received = 0;
  uint64_t sent = 0;
  bool ended = false;   // its peer closed this direction
  bool closed = false;  // we closed the other

 private:
  Tunnel& tunnel_;
};

// Idle it is this object and two streams: no buffer, no coroutine, no request.
class Tunnel final {
 public:
  Tunnel(Worker& worker, TunnelHandover& client, std::unique_ptr<upstream::Selection> use,
         const TunnelOptions& options)
      : client(*this),
        upstream(*this),
        worker_(worker),
        timer_(&Tunnel::expired, this),
        facts_(std::move(client.facts)),
        log_(std::move(client.log)),
        log_use_(std::move(client.log_use)),
        use_(std::move(use)),
        error_log_(options.error_log),
        context_(options.context),
        connection_(options.connection),
        read_timeout_(static_cast<uint32_t>(options.read_timeout)),
        send_timeout_(static_cast<uint32_t>(options.send_timeout)) {
    ++worker_.connections;  // the upstream's
    next_ = first_tunnel;
    if (next_) next_->previous_ = this;
    first_tunnel = this;
    ++tunnels;
  }
  ~Tunnel();

  // Moves what can be moved after `from` became readable. May destroy the tunnel.
  void relay(Side& from);
  void flushed(Side& to);
  void start();
  void end() { delete this; }

  Side client;
  Side upstream;
  uint64_t head_left = 0;

 private:
  static void expired(void* self) { static_cast<Tunnel*>(self)->timed_out(); }
  void timed_out();
  void log(Severity severity, std::string_view what, int error);
  Side& other(Side& side) { return &side == &client ? upstream : client; }
  // Writes now what goes, keeps the rest. False: the side has failed.
  bool write(Side& to, const char* data, size_t size);
  bool flush(Side& to);
  // Passes an end of stream on when everything before it is out. False: both are over.
  bool pass_end(Side& from);
  void arm();

  Worker& worker_;
  Timer timer_;
  std::unique_ptr<ConnectionFacts> facts_;
  PendingLog log_;
  std::shared_ptr<const void> log_use_;
  std::unique_ptr<upstream::Selection> use_;
  std::shared_ptr<const ErrorLogTargets> error_log_;
  std::string context_;
  uint64_t connection_;
  uint32_t read_timeout_;
  uint32_t send_timeout_;
  bool complete_ = false;  // both ends closed in order
  Tunnel* next_ = nullptr;
  Tunnel* previous_ = nullptr;

  friend void weir::http::close_tunnels();
};

Tunnel::~Tunnel() {
  (previous_ ? previous_->next_ : first_tunnel) = next_;
  if (next_) next_->previous_ = previous_;
  --tunnels;
  --worker_.connections;
  if (use_) use_->finish(upstream::Selection::Result::ok);
  client.stream.reset();
  upstream.stream.reset();
  TunnelEnd end;
  // The rest of the 101 head was counted when it was queued.
  end.sent_to_client = client.sent > head_left ? client.sent - head_left : 0;
  end.received_from_client = client.received;
  end.sent_to_upstream = upstream.sent;
  end.received_from_upstream = upstream.received;
  end.now = worker_.loop.now();
  end.wall = worker_.loop.wall_milliseconds();
  log_.finish(end);
}

void Tunnel::start() {
  arm();
  if (!flush(client) || !flush(upstream)) return end();
  // Bytes may have come before we listened.
  client.stream->read_later();
  upstream.stream->read_later();
}

void Tunnel::arm() {
  uint64_t limit = read_timeout_;
  const bool sending = !client.pending.empty() || !upstream.pending.empty();
  if (sending && send_timeout_ && (!limit || send_timeout_ < limit)) limit = send_timeout_;
  if (limit) {
    timer_.arm(worker_.loop, limit);
  } else {
    timer_.cancel();
  }
}

void Tunnel::timed_out() {
  log(Severity::info, client.pending.empty() ? "upstream timed out" : "client timed out",
      ETIMEDOUT);
  end();
}

void Tunnel::log(Severity severity, std::string_view what, int error) {
  const ErrorLogTargets* targets = error_log_.get();
  if (!targets && worker_.generation && worker_.generation->http) {
    targets = worker_.generation->http->error_log.get();
  }
  if (!targets || !ErrorLog::wants(*targets, severity)) return;
  std::string text(what);
  text += " (" + std::to_string(error) + ": " + std::strerror(error) +
          ") while proxying upgraded connection" + context_;
  worker_.error_log.write(*targets, severity, connection_, text);
}

bool Tunnel::write(Side& to, const char* data, size_t size) {
  if (to.closed) return true;  // nobody takes it any more
  if (to.pending.empty() && to.stream->is_plain()) {
    iovec vector{const_cast<char*>(data), size};
    const Transfer moved = to.stream->socket().write(&vector, 1);
    if (moved.state == Transfer::State::failed) return false;
    const size_t bytes = moved.state == Transfer::State::done ? moved.bytes : 0;
    to.sent += bytes;
    data += bytes;
    size -= bytes;
    if (size == 0) return true;
  }
  to.pending.push(Slice::copy_of({data, size}));
  return flush(to);
}

bool Tunnel::flush(Side& to) {
  while (!to.pending.empty()) {
    const net::WriteResult result = to.stream->write(to.pending);
    to.sent += result.bytes;
    if (result.state == net::WriteResult::State::failed) return false;
    if (result.state == net::WriteResult::State::would_block) return true;
  }
  to.pending.release();
  return true;
}

bool Tunnel::pass_end(Side& from) {
  Side& to = other(from);
  if (from.ended && !to.closed && to.pending.empty()) {
    if (to.stream->shutdown().state == Transfer::State::would_block) return true;
    to.closed = true;
  }
  if (client.ended && upstream.ended && client.closed && upstream.closed) {
    complete_ = true;
    return false;
  }
  return true;
}

void Tunnel::relay(Side& from) {
  Side& to = other(from);
  char* const block = scratch();
  arm();
  for (int reads = 0; !from.ended; ++reads) {
    // A slow reader holds its writer back.
    if (!to.pending.empty() || !from.stream->maybe_readable()) return;
    if (reads == kReadsInARow) return from.stream->read_later();
    const Transfer moved = from.stream->read(block, Block::kBlockSize);
    if (moved.state == Transfer::State::would_block) return;
    if (moved.state == Transfer::State::failed) {
      log(&from == &upstream ? Severity::error : Severity::info, "recv() failed", moved.error);
      return end();
    }
    if (moved.state == Transfer::State::end) {
      from.ended = true;
      break;
    }
    from.received += moved.bytes;
    if (!write(to, block, moved.bytes)) return end();
  }
  if (!pass_end(from)) end();
}

void Tunnel::flushed(Side& to) {
  arm();
  if (!flush(to)) return end();
  if (!to.pending.empty()) return;
  Side& from = other(to);
  if (from.ended) {
    if (!pass_end(from)) end();
    return;
  }
  relay(from);
}

void Side::on_readable() {
  tunnel_.relay(*this);
}
void Side::on_writable() {
  tunnel_.flushed(*this);
}

}  // namespace

void start_tunnel(Worker& worker, std::unique_ptr<TunnelHandover> client,
                  std::unique_ptr<net::Stream> upstream, Chain early,
                  std::unique_ptr<upstream::Selection> use, const TunnelOptions& options) {
  auto* tunnel = new Tunnel(worker, *client, std::move(use), options);
  tunnel->client.stream = std::move(client->stream);
  tunnel->upstream.stream = std::move(upstream);
  tunnel->head_left = client->unsent.bytes();
  tunnel->client.pending = std::move(client->unsent);
  tunnel->client.pending.append(std::move(early));
  tunnel->upstream.pending = std::move(client->early_bytes);
  tunnel->client.received = tunnel->upstream.pending.bytes();
  for (const net::Stream* stream : {tunnel->client.stream.get(), tunnel->upstream.stream.get()}) {
    (void)net::set_no_delay(stream->descriptor(), true);  // refused by unix sockets
  }
  tunnel->client.stream->set_handler(&tunnel->client);
  tunnel->upstream.stream->set_handler(&tunnel->upstream);
  tunnel->start();
}

size_t tunnel_count() {
  return tunnels;
}

void close_tunnels() {
  while (first_tunnel) first_tunnel->end();
}

}  // namespace weir::http
