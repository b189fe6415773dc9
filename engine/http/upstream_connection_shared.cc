#include "engine/http/upstream_connection.h"
#include "engine/worker.h"

// Reading and writing where many leases share a connection: HTTP/2.
namespace weir::http {
namespace {

// Output that waits in the codec before bodies wait outside of it.
constexpr size_t kOutputLimit = 2 * Block::kBlockSize;
// Of one body at once: then the others have their turn.
constexpr size_t kTurn = 16 * 1024;
constexpr int kWritesPerTurn = 8;
// Of a peer that takes no more: what it sent before.
constexpr int kLastReads = 64;

}  // namespace

// Gives the codec what it may have of the lease's body.
void UpstreamConnection::push(UpstreamExchange& exchange) {
  if (exchange.waits_for_room_) {
    exchange.waits_for_room_ = false;
    --waiting_senders_;
  }
  if (exchange.request_ended_ || exchange.was_reset || broken_ || !exchange.stream) return;
  Chain& output = codec_->output();
  size_t turn = kTurn;
  while (!exchange.outgoing_.empty() && output.bytes() < kOutputLimit && turn) {
    Chain piece;
    Slice& front = exchange.outgoing_.front();
    const size_t size = std::min(front.size(), turn);
    piece.push(front.sub(0, size));
    const bool last = exchange.end_outgoing_ && exchange.outgoing_trailers_.empty() &&
                      size == exchange.outgoing_.bytes();
    codec_->send_data(exchange.stream, piece, last);
    const size_t taken = size - piece.bytes();
    exchange.outgoing_.consume(taken);
    exchange.bytes_sent += taken;
    turn -= taken;
    if (!piece.empty()) {
      // The peer's window: on_writable() tells.
      write_later();
      return;
    }
    if (last) exchange.request_ended_ = true;
  }
  if (exchange.outgoing_.empty()) {
    if (exchange.end_outgoing_ && !exchange.request_ended_) {
      Chain nothing;
      if (exchange.outgoing_trailers_.empty()) {
        codec_->send_data(exchange.stream, nothing, true);
      } else {
        codec_->send_trailers(exchange.stream, exchange.outgoing_trailers_);
      }
      exchange.request_ended_ = true;
    }
  } else {
    exchange.waits_for_room_ = true;
    ++waiting_senders_;
  }
  write_later();
}

void UpstreamConnection::push_waiting() {
  if (!waiting_senders_) return;
  for (UpstreamExchange* at = first_; at; at = at->next_) {
    if (!at->waits_for_room_) continue;
    push(*at);
    at->event.ring();
    if (codec_->output().bytes() >= kOutputLimit) return;
  }
}

void UpstreamConnection::write_later() {
  flush_.schedule_late(worker_.loop);
}

void UpstreamConnection::write_all() {
  if (connecting_ || broken_ || write_failed_ || !codec_) return;
  Chain& output = codec_->output();
  for (int turns = 0; !output.empty(); ++turns) {
    if (turns == kWritesPerTurn) return write_later();
    const net::WriteResult result = stream_->write(output);
    const bool was_blocked = write_blocked_;
    write_blocked_ = result.state == net::WriteResult::State::would_block;
    if (was_blocked && !write_blocked_) {
      for (UpstreamExchange* at = first_; at; at = at->next_) at->event.ring();
    }
    if (result.state == net::WriteResult::State::failed) {
      // What the peer said before it closed still counts.
      write_failed_ = true;
      output.clear();
      read_shared(kLastReads);
      if (!broken_) fail("writev()", result.error);
      return;
    }
    if (output.bytes() < kOutputLimit) push_waiting();
    if (result.state == net::WriteResult::State::limited) return write_later();
    if (write_blocked_) return;
  }
}

void UpstreamConnection::read_shared(int limit) {
  if (connecting_ || broken_) return;
  for (int reads = 0; stream_->maybe_readable(); ++reads) {
    if (reads == limit) {
      stream_->read_later();
      break;
    }
    Ref<Block> block = Block::take();
    const Transfer moved = stream_->read(block->data(), block->capacity());
    if (moved.state == Transfer::State::would_block) break;
    if (moved.state == Transfer::State::done) {
      codec_->feed(Slice(block, block->data(), moved.bytes));
      if (!codec_->wants_close()) continue;
      // The codec's last words go out; the streams have been told.
      write_all();
      return fail("", 0);
    }
    if (moved.state == Transfer::State::end) codec_->end_of_input();
    return fail(moved.state == Transfer::State::end ? "" : "recv()", moved.error);
  }
  if (!codec_->output().empty()) write_later();
}

// Touch nothing afterwards.
void UpstreamConnection::leave_if_useless() {
  if (!leases_ && !may_idle()) leave_pool();
}

// Nobody uses it: may it wait for the next?
bool UpstreamConnection::may_idle() const {
  return !connecting_ && !broken_ && !write_failed_ && codec_->reusable() &&
         !stream_->socket().peer_closed();
}

// Idle for a while: memory that a busy connection would take again at once is given back.
void UpstreamConnection::rest() {
  if (!leases_) codec_->release_memory();
}

}  // namespace weir::http
