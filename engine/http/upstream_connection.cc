#include "engine/http/upstream_connection.h"

#include "engine/worker.h"

namespace weir::http {
namespace {

// Body bytes that may wait for the relay before reading stops.
constexpr size_t kInboxLimit = 2 * Block::kBlockSize;

}  // namespace

UpstreamConnection::UpstreamConnection(Worker& worker) : worker_(worker) {
  ++worker_.connections;
}

UpstreamConnection::~UpstreamConnection() {
  --worker_.connections;
}

net::ConnectResult UpstreamConnection::open(const net::Address& to,
                                            const net::ConnectOptions& options) {
  address = to;
  opened_at = worker_.loop.now();
  stream_ = std::make_unique<net::Stream>();
  const net::ConnectResult result =
      net::start_connect(worker_.loop, stream_->socket(), this, to, options);
  connecting_ = result.state == net::ConnectResult::State::pending;
  return result;
}

void UpstreamConnection::attach(UpstreamExchange& exchange, MakeCodec make_codec,
                                uint32_t head_limit) {
  exchange_ = &exchange;
  exchange.connected = !connecting_;
  ++uses;
  if (!codec_) codec_ = make_codec(*this, head_limit);
}

void UpstreamConnection::make_idle() {
  codec_->next_exchange();
  codec_->release_memory();
  exchange_ = nullptr;
}

void UpstreamConnection::fail(const char* call, int error) {
  if (!exchange_) return;
  if (!exchange_->closed) {
    exchange_->closed = true;
    exchange_->error = error;
    exchange_->failed_call = call;
  }
  ring();
}

bool UpstreamConnection::flush() {
  Chain& output = codec_->output();
  if (output.empty()) return true;
  if (connecting_ || !exchange_ || exchange_->write_failed) return false;
  const net::WriteResult result = stream_->write(output);
  exchange_->bytes_sent += result.bytes;
  switch (result.state) {
    case net::WriteResult::State::done:
      return true;
    case net::WriteResult::State::would_block:
      return false;
    case net::WriteResult::State::limited:
      // Part of a file went; the event brings us back.
      exchange_->event.ring();
      return false;
    case net::WriteResult::State::failed:
      break;
  }
  // A peer that refuses a body may have answered before it closed.
  output.clear();
  exchange_->write_failed = true;
  while (!exchange_->head && read_some()) {
  }
  if (!exchange_->head && !exchange_->was_reset) fail("writev()", result.error);
  return false;
}

void UpstreamConnection::feed() {
  while (!unfed_.empty() && exchange_ && !exchange_->upgraded && !exchange_->ended) {
    const size_t used = codec_->feed(unfed_);
    unfed_.remove_prefix(used);
    if (used == 0) return;
  }
  if (unfed_.empty()) unfed_ = Slice();
}

bool UpstreamConnection::read_some() {
  // What a peer says before it was asked waits in the kernel until the request is on its way.
  if (!exchange_ || !exchange_->stream || connecting_ || exchange_->ended || exchange_->was_reset ||
      exchange_->upgraded) {
    return false;
  }
  if (!unfed_.empty()) {
    const size_t before = unfed_.size();
    feed();
    if (!exchange_ || !unfed_.empty()) return unfed_.size() != before;
    if (exchange_->ended) return true;
  }
  if (exchange_->closed || exchange_->inbox.bytes() >= kInboxLimit || !stream_->maybe_readable()) {
    return false;
  }
  Ref<Block> block = Block::take();
  const Transfer moved = stream_->read(block->data(), block->capacity());
  switch (moved.state) {
    case Transfer::State::would_block:
      return false;
    case Transfer::State::done:
      exchange_->bytes_received += moved.bytes;
      unfed_ = Slice(block, block->data(), moved.bytes);
      feed();
      return true;
    case Transfer::State::end:
      exchange_->closed = true;
      codec_->end_of_input();
      return true;
    case Transfer::State::failed:
      // What was parsed so far stands; a body that runs until close is cut.
      fail("recv()", moved.error);
      return true;
  }
  return false;
}

void UpstreamConnection::on_readable() {
  if (!exchange_) return leave_pool();
  if (exchange_->want_read && read_some()) {
    // A part of a head wakes nobody who would read on, and its end may have come with it: no other
    // event follows then.
    while (exchange_ && !exchange_->head && stream_->maybe_readable() && read_some()) {
    }
  }
  if (exchange_) ring();
}

void UpstreamConnection::on_writable() {
  if (!exchange_) return;
  if (connecting_) {
    connecting_ = false;
    if (const int error = stream_->socket().connect_error()) return fail("connect()", error);
    exchange_->connected = true;
  } else {
    flush();
  }
  ring();
}

bool UpstreamConnection::reusable() {
  if (!exchange_ || !exchange_->ended || exchange_->closed || exchange_->upgraded ||
      exchange_->write_failed) {
    return false;
  }
  if (!unfed_.empty() || !codec_->output().empty() || !codec_->reusable()) return false;
  if (stream_->socket().peer_closed()) return false;
  if (!stream_->maybe_readable()) return true;
  char byte;
  return stream_->peek(&byte, 1).state == Transfer::State::would_block;
}

Chain UpstreamConnection::take_raw() {
  Chain raw;
  if (exchange_) raw.append(std::move(exchange_->inbox));
  if (!unfed_.empty()) raw.push(std::move(unfed_));
  unfed_ = Slice();
  return raw;
}

Arena& UpstreamConnection::on_begin(StreamId) {
  return exchange_->arena;
}

void UpstreamConnection::on_interim(StreamId, MessageHead& head) {
  if (exchange_->interim.size() < 16) exchange_->interim.push_back(&head);
}

void UpstreamConnection::on_head(StreamId, MessageHead& head) {
  exchange_->head = &head;
}

void UpstreamConnection::on_data(StreamId, Slice data) {
  exchange_->inbox.push(std::move(data));
}

void UpstreamConnection::on_trailers(StreamId, HeaderList& trailers) {
  // The codec's list goes with the call; its text stays in the arena.
  exchange_->trailers = exchange_->arena.make<HeaderList>(trailers);
}

void UpstreamConnection::on_end(StreamId) {
  exchange_->ended = true;
}

void UpstreamConnection::on_upgraded(StreamId) {
  exchange_->upgraded = true;
}

void UpstreamConnection::on_reset(StreamId, const Reset& reset) {
  exchange_->was_reset = true;
  exchange_->reset = reset;
}

void UpstreamConnection::on_writable(StreamId) {
  ring();
}

}  // namespace weir::http
