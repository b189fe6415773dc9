#include "engine/http/stream_bridge.h"

#include "engine/http/request.h"
#include "engine/http/request_body.h"

namespace weir::http {
namespace {

// Reads before other connections have their turn.
constexpr int kReadsInARow = 8;

class Bridge final : public SocketHandler {
 public:
  Bridge(Request& request, std::unique_ptr<net::Stream> upstream)
      : request_(request), upstream_(std::move(upstream)) {
    upstream_->set_handler(this);
  }

  void on_readable() override { request_.event().ring(); }
  void on_writable() override {
    blocked_ = false;
    request_.event().ring();
  }

  // What goes now, both ways. True: bytes moved.
  bool relay() {
    const bool up = send_up();
    const bool down = send_down();
    return up || down;
  }
  bool over() const { return result_.error != 0 || (up_ended_ && down_ended_); }
  BridgeResult& result() { return result_; }
  void give_down(Chain&& early) {
    result_.received += early.bytes();
    if (!early.empty()) request_.send(std::move(early), false, true);
  }

 private:
  bool send_up() {
    RequestBody& body = request_.body();
    if (blocked_ || up_ended_ || result_.error != 0) return false;
    Chain& arrived = body.arrived();
    bool moved = false;
    if (!arrived.empty()) {
      const net::WriteResult written = upstream_->write(arrived);
      moved = written.bytes > 0;
      result_.sent += written.bytes;
      if (moved) body.consumed(written.bytes);
      blocked_ = written.state == net::WriteResult::State::would_block;
      if (written.state == net::WriteResult::State::failed) fail(written.error);
    }
    if (arrived.empty() && body.ended() && result_.error == 0) {
      up_ended_ = true;
      upstream_->shutdown();
    }
    return moved;
  }

  bool send_down() {
    bool moved = false;
    int reads = 0;
    while (!down_ended_ && result_.error == 0 && request_.output_ready() &&
           upstream_->maybe_readable()) {
      if (++reads > kReadsInARow) {
        upstream_->read_later();
        break;
      }
      Ref<Block> block = Block::take();
      char* to = block->data();
      const Transfer got = upstream_->read(to, block->capacity());
      if (got.state == Transfer::State::would_block) break;
      if (got.state == Transfer::State::failed) {
        fail(got.error);
        break;
      }
      moved = true;
      Chain data;
      if (got.state == Transfer::State::done) {
        result_.received += got.bytes;
        data.push(Slice(std::move(block), to, got.bytes));
      } else {
        down_ended_ = true;
      }
      request_.send(std::move(data), down_ended_, true);
    }
    return moved;
  }

  void fail(int error) {
    result_.error = error == 0 ? -1 : error;
    result_.end = BridgeEnd::upstream_failed;
  }

  Request& request_;
  std::unique_ptr<net::Stream> upstream_;
  BridgeResult result_;
  bool blocked_ = false;     // the upstream takes no more
  bool up_ended_ = false;    // the client's end was passed on
  bool down_ended_ = false;  // the upstream's end was passed on
};

}  // namespace

Task<BridgeResult> run_bridge(Request& request, std::unique_ptr<net::Stream> upstream, Chain early,
                              BridgeOptions options) {
  Bridge bridge(request, std::move(upstream));
  bridge.give_down(std::move(early));
  for (;;) {
    while (!bridge.over() && !request.client_gone() && bridge.relay()) {
    }
    if (request.client_gone() && !bridge.over()) {
      bridge.result().end = BridgeEnd::client_gone;
      break;
    }
    if (bridge.over()) break;
    const Wait waited = co_await request.event().wait(options.read_timeout);
    if (waited == Wait::done) continue;
    bridge.result().end = waited == Wait::timed_out ? BridgeEnd::timed_out : BridgeEnd::client_gone;
    break;
  }
  co_return bridge.result();
}

}  // namespace weir::http
