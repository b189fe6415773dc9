#include "engine/http/upstream_connection.h"
#include "engine/worker.h"

// Reading and writing where a connection has one stream at a time: HTTP/1.
namespace weir::http {
namespace {

// Body bytes that may wait for the relay before reading stops.
constexpr size_t kInboxLimit = 2 * Block::kBlockSize;

}  // namespace

bool UpstreamConnection::flush_at_once(UpstreamExchange& exchange) {
  Chain& output = codec_->output();
  if (output.empty()) return true;
  if (connecting_ || exchange.write_failed) return false;
  const net::WriteResult result = stream_->write(output);
  exchange.bytes_sent += result.bytes;
  switch (result.state) {
    case net::WriteResult::State::done:
      return true;
    case net::WriteResult::State::would_block:
      return false;
    case net::WriteResult::State::limited:
      // Part of a file went; the event brings us back.
      exchange.event.ring();
      return false;
    case net::WriteResult::State::failed:
      break;
  }
  // A peer that refuses a body may have answered before it closed.
  output.clear();
  exchange.write_failed = true;
  while (!exchange.head && read_some(exchange)) {
  }
  if (!exchange.head && !exchange.was_reset) fail("writev()", result.error);
  return false;
}

void UpstreamConnection::feed() {
  while (!unfed_.empty() && first_ && !first_->upgraded && !first_->ended) {
    const size_t used = codec_->feed(unfed_);
    unfed_.remove_prefix(used);
    if (used == 0) return;
  }
  if (unfed_.empty()) unfed_ = Slice();
}

bool UpstreamConnection::read_some(UpstreamExchange& exchange) {
  // What a peer says before it was asked waits in the kernel until the request is on its way.
  if (shareable || !exchange.stream || connecting_ || exchange.ended || exchange.was_reset ||
      exchange.upgraded) {
    return false;
  }
  if (!unfed_.empty()) {
    const size_t before = unfed_.size();
    feed();
    if (!unfed_.empty()) return unfed_.size() != before;
    if (exchange.ended) return true;
  }
  if (exchange.closed || exchange.inbox.bytes() >= kInboxLimit || !stream_->maybe_readable()) {
    return false;
  }
  Ref<Block> block = Block::take();
  const Transfer moved = stream_->read(block->data(), block->capacity());
  switch (moved.state) {
    case Transfer::State::would_block:
      return false;
    case Transfer::State::done:
      exchange.bytes_received += moved.bytes;
      unfed_ = Slice(block, block->data(), moved.bytes);
      feed();
      return true;
    case Transfer::State::end:
      exchange.closed = true;
      codec_->end_of_input();
      return true;
    case Transfer::State::failed:
      // What was parsed so far stands; a body that runs until close is cut.
      fail("recv()", moved.error);
      return true;
  }
  return false;
}

void UpstreamConnection::read_alone() {
  UpstreamExchange* exchange = first_;
  if (!exchange) {
    // TLS has words of its own (session tickets); anything else nobody asked for.
    char byte;
    const bool silent =
        !stream_->is_plain() && stream_->peek(&byte, 1).state == Transfer::State::would_block;
    if (!silent) leave_pool();
    return;
  }
  if (exchange->want_read && read_some(*exchange)) {
    // A part of a head wakes nobody who would read on, and its end may have come with it: no other
    // event follows then.
    while (!exchange->head && stream_->maybe_readable() && read_some(*exchange)) {
    }
  }
  exchange->event.ring();
}

// After on_end: may another exchange follow? Not when the peer sent more than it should, either.
bool UpstreamConnection::reusable(const UpstreamExchange& exchange) {
  if (!exchange.ended || exchange.closed || exchange.upgraded || exchange.write_failed)
    return false;
  if (!unfed_.empty() || !codec_->output().empty() || !codec_->reusable()) return false;
  if (stream_->socket().peer_closed()) return false;
  if (!stream_->maybe_readable()) return true;
  char byte;
  return stream_->peek(&byte, 1).state == Transfer::State::would_block;
}

Chain UpstreamConnection::take_raw(UpstreamExchange& exchange) {
  Chain raw;
  raw.append(std::move(exchange.inbox));
  if (!unfed_.empty()) raw.push(std::move(unfed_));
  unfed_ = Slice();
  return raw;
}

}  // namespace weir::http
