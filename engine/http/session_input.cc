// What comes from the client: read, and fed to the codec.

#include <cerrno>
#include <string>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/session.h"
#include "engine/net/proxy_protocol.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr size_t kOutputLimit = 64 * 1024;  // a peer that does not read is not read from
constexpr int kReadsPerEvent = 4;           // then others have their turn
// That a client of HTTP/2 may still send when it was told to go. (What a body of HTTP/1 may be is
// the configuration's business.)
constexpr uint32_t kFarewellLimit = 1024 * 1024;

}  // namespace

void Session::on_readable() {
  if (state_ == State::lingering) {
    drop_input();
    return;
  }
  if (state_ == State::proxy_header && listener_->ssl && !read_proxy_header_before_tls()) {
    settle();
    return;
  }
  if (state_ == State::handshake && !shake_hands()) {
    settle();
    return;
  }
  bool settled = false;
  for (int reads = 0; wants_input() && stream_->maybe_readable(); ++reads) {
    if (reads == kReadsPerEvent) {
      stream_->read_later();
      break;
    }
    settled = read_once();
    if (!settled) break;
    if (!settle()) return;
  }
  check_peer();
  if (!settled) settle();
}

bool Session::wants_input() const {
  return !unread_ && !input_ended_ && !broken_ && !handed_over_ && !codec_->wants_close() &&
         (state_ == State::proxy_header || state_ == State::idle || state_ == State::open) &&
         codec_->output().bytes() < kOutputLimit;
}

// False: there was nothing.
bool Session::read_once() {
  Ref<Block> block = Block::take();
  char* data = block->data();
  size_t capacity = block->capacity();
  Transfer transfer = stream_->read(data, capacity);
  switch (transfer.state) {
    case Transfer::State::done:
      take_input(Slice(std::move(block), data, transfer.bytes));
      return true;
    case Transfer::State::would_block:
      return false;
    case Transfer::State::end:
      input_ended_ = true;
      return false;
    case Transfer::State::failed:
      break_connection(transfer.error);
      return false;
  }
  return false;
}

void Session::take_input(Slice bytes) {
  if (state_ == State::proxy_header && !read_proxy_header(bytes)) return;
  if (may_be_http2_ && !settle_protocol(bytes)) return;
  feed(bytes);
  if (!bytes.empty()) unread_ = std::make_unique<Slice>(std::move(bytes));
}

// What the codec had not taken. True: it took something.
bool Session::feed_unread() {
  if (!unread_) return false;
  size_t before = unread_->size();
  feed(*unread_);
  bool took = unread_->size() < before;
  if (unread_->empty()) unread_.reset();
  return took;
}

// Gives the codec what it takes of `bytes`, and leaves the rest there.
void Session::feed(Slice& bytes) {
  if (state_ == State::lingering || broken_ || handed_over_) return;
  // A request that begins now belongs to the configuration of now.
  if (codec_->idle() && !has_exchanges() && !prepare_for_request()) {
    bytes = Slice();
    return;
  }
  size_t used = codec_->feed(bytes);
  bytes.remove_prefix(used);
  if (multiplexed_) {
    flush_wanted_ = flush_wanted_ || !codec_->output().empty();
    settle_input();
    if (head_begun_ && listener_ != nullptr) begin_head();
  }
  if (exchange_ != nullptr) {
    exchange_->count_received(used + head_bytes_);
    head_bytes_ = 0;
  } else {
    head_bytes_ += static_cast<uint32_t>(used);
  }
  if (state_ == State::idle && !codec_->idle()) begin_head();
}

// Some of a head is there. On a new connection the timer has run for it since the accept; between
// requests it was for idling.
void Session::begin_head() {
  state_ = State::open;
  head_begun_ = false;
  if (facts_->requests == 0) return;
  const auto& server = listener_->default_server->scope->get<ServerSettings>();
  timer_.arm(worker().loop, static_cast<uint64_t>(server.client_header_timeout.value));
}

bool Session::read_proxy_header(Slice& bytes) {
  if (!proxy_text_) proxy_text_ = std::make_unique<std::string>();
  size_t before = proxy_text_->size();
  proxy_text_->append(bytes.view());
  net::ProxyProtocolReader reader;
  auto result = reader.read(*proxy_text_);
  switch (result.state) {
    case net::ProxyProtocolReader::State::need_more:
      return false;
    case net::ProxyProtocolReader::State::failed:
      log(Severity::error, reader.error() + " while reading PROXY protocol");
      close(false);
      return false;
    case net::ProxyProtocolReader::State::done:
      break;
  }
  facts_->proxy_protocol = std::make_unique<net::ProxyHeader>(std::move(reader.header()));
  proxy_text_.reset();
  state_ = State::idle;
  bytes.remove_prefix(result.consumed - before);
  return !bytes.empty();
}

void Session::check_peer() {
  if (!has_exchanges() || handed_over_) return;
  if (peer_closed()) for_each_exchange([](Exchange& exchange) { exchange.peer_left(); });
}

// All that came before the end has been read and fed: the codec learns of it.
void Session::tell_end() {
  if (!input_ended_ || end_told_ || unread_ || handed_over_) return;
  end_told_ = true;
  codec_->end_of_input();
}

void Session::drop_input() {
  Ref<Block> block = Block::take();
  for (int reads = 0; reads < kReadsPerEvent; ++reads) {
    Transfer transfer = stream_->read(block->data(), block->capacity());
    if (transfer.state == Transfer::State::would_block) {
      uint64_t now = worker().loop.now();
      if (now >= deadline_) break;
      timer_.arm(worker().loop, std::min<uint64_t>(lingering_timeout_, deadline_ - now));
      return;
    }
    dropped_ += static_cast<uint32_t>(transfer.bytes);
    const bool too_much = multiplexed_ && dropped_ > kFarewellLimit;
    if (transfer.state != Transfer::State::done || too_much || worker().loop.now() >= deadline_) {
      close(false);
      destroy();
      return;
    }
  }
  if (worker().loop.now() < deadline_) {
    stream_->read_later();
    return;
  }
  close(false);
  destroy();
}

}  // namespace weir::http
