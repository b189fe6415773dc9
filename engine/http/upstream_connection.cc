#include "engine/http/upstream_connection.h"

#include <algorithm>
#include <utility>

#include "engine/tls/layer.h"
#include "engine/worker.h"

// What connections of all protocols do: opening, leases, what the codec tells. How one stream reads
// and writes stands in upstream_connection_single.cc, how many do in upstream_connection_shared.cc.
namespace weir::http {
namespace {

// Leases of one connection, whatever the peer allows.
constexpr uint32_t kLeaseLimit = 1024;
// That wait for its settings (RFC 9113 section 6.5.2 recommends no lower limit).
constexpr uint32_t kFirstLeases = 100;
constexpr size_t kInterimLimit = 16;
constexpr int kReadsPerEvent = 4;

}  // namespace

UpstreamExchange::~UpstreamExchange() {
  if (connection_) connection_->release(*this, nullptr);
}

UpstreamConnection::UpstreamConnection(Worker& worker)
    : worker_(worker),
      flush_(&UpstreamConnection::flush_due, this),
      rest_timer_(&UpstreamConnection::rest_due, this) {
  ++worker_.connections;
}

UpstreamConnection::~UpstreamConnection() {
  // Only the end of a worker leaves leases behind.
  for (UpstreamExchange* at = first_; at; at = at->next_) {
    at->connection_ = nullptr;
    at->closed = true;
  }
  --worker_.connections;
}

void UpstreamConnection::use_tls(std::unique_ptr<tls::ClientLayer> layer) {
  unused_layer_ = std::move(layer);
}

net::ConnectResult UpstreamConnection::open(const net::Address& to,
                                            const net::ConnectOptions& options) {
  address = to;
  opened_at = worker_.loop.now();
  stream_ = std::make_unique<net::Stream>();
  const net::ConnectResult result =
      net::start_connect(worker_.loop, stream_->socket(), this, to, options);
  connecting_ = result.state == net::ConnectResult::State::pending;
  if (unused_layer_ && result.state == net::ConnectResult::State::connected) {
    connecting_ = true;
    continue_handshake();
  }
  return result;
}

// --- leases

void UpstreamConnection::attach(UpstreamExchange& exchange, MakeCodec make_codec,
                                uint32_t head_limit) {
  link(exchange);
  exchange.connected = shareable ? may_start() : !connecting_;
  exchange.handshaking = handshake_ != nullptr;
  // (A handshake that failed at once.)
  if (broken_) fail("", 0);
  ++uses;
  rest_timer_.cancel();
  if (!codec_) codec_ = make_codec(*this, head_limit);
}

void UpstreamConnection::link(UpstreamExchange& exchange) {
  exchange.connection_ = this;
  exchange.previous_ = nullptr;
  exchange.next_ = first_;
  if (first_) first_->previous_ = &exchange;
  first_ = &exchange;
  ++leases_;
}

void UpstreamConnection::unlink(UpstreamExchange& exchange) {
  (exchange.previous_ ? exchange.previous_->next_ : first_) = exchange.next_;
  if (exchange.next_) exchange.next_->previous_ = exchange.previous_;
  exchange.connection_ = nullptr;
  --leases_;
}

UpstreamExchange* UpstreamConnection::find(StreamId stream) const {
  if (!shareable) return first_;
  if (by_stream_.empty()) return nullptr;
  UpstreamExchange* at = by_stream_[stream & (by_stream_.size() - 1)];
  while (at && at->stream != stream) at = at->next_in_bucket_;
  return at;
}

void UpstreamConnection::remember(UpstreamExchange& exchange) {
  if (!shareable) return;
  if (++with_stream_ > by_stream_.size()) {
    by_stream_.assign(std::max<size_t>(8, by_stream_.size() * 2), nullptr);
    for (UpstreamExchange* at = first_; at; at = at->next_) {
      if (!at->stream || at == &exchange) continue;
      UpstreamExchange*& bucket = by_stream_[at->stream & (by_stream_.size() - 1)];
      at->next_in_bucket_ = bucket;
      bucket = at;
    }
  }
  UpstreamExchange*& bucket = by_stream_[exchange.stream & (by_stream_.size() - 1)];
  exchange.next_in_bucket_ = bucket;
  bucket = &exchange;
}

void UpstreamConnection::forget(UpstreamExchange& exchange) {
  if (!shareable || !exchange.stream) return;
  UpstreamExchange** at = &by_stream_[exchange.stream & (by_stream_.size() - 1)];
  while (*at && *at != &exchange) at = &(*at)->next_in_bucket_;
  if (!*at) return;
  *at = exchange.next_in_bucket_;
  --with_stream_;
}

bool UpstreamConnection::has_room() const {
  if (!shareable || broken_ || write_failed_ || leases_ >= kLeaseLimit) return false;
  return settled_ ? codec_->can_open_stream() : leases_ < kFirstLeases;
}

void UpstreamConnection::release(UpstreamExchange& exchange, const upstream::Cluster* keep) {
  if (worker_.draining) keep = nullptr;
  if (!shareable) {
    const bool kept = keep && reusable(exchange);
    unlink(exchange);
    if (!kept) {
      worker_.upstreams.remove(*this);
      return;
    }
    codec_->next_exchange();
    codec_->release_memory();
    worker_.upstreams.give(*keep, *this);
    return;
  }
  if (exchange.waits_for_room_) --waiting_senders_;
  forget(exchange);
  if (exchange.stream && !broken_) {
    // What is dropped unread is disposed of, for the connection's window.
    if (exchange.owed_) codec_->consumed(exchange.stream, exchange.owed_);
    codec_->forget(exchange.stream);
    if (!codec_->output().empty()) write_later();
  }
  unlink(exchange);
  exchange.stream = 0;
  if (leases_) return;
  if (!keep || !may_idle()) {
    worker_.upstreams.remove(*this);
    return;
  }
  rest_timer_.arm(worker_.loop, 1000);
  worker_.upstreams.give(*keep, *this);
}

// TLS from the first byte on: nothing is read from the bare socket.
void UpstreamConnection::continue_handshake() {
  if (unused_layer_) {
    handshake_ = unused_layer_.get();
    stream_->set_layer(std::move(unused_layer_), this);
    for (UpstreamExchange* at = first_; at; at = at->next_) {
      at->handshaking = true;
      at->event.ring();
    }
  }
  switch (handshake_->handshake(stream_->socket())) {
    case tls::HandshakeState::would_block:
      return;
    case tls::HandshakeState::done:
      handshake_ = nullptr;
      return connected();
    case tls::HandshakeState::failed:
      handshake_ = nullptr;
      return fail("SSL_do_handshake()", 0);
  }
}

void UpstreamConnection::connected() {
  connecting_ = false;
  if (shareable) {
    // The preface leaves whoever begins: the peer's settings answer it.
    write_later();
    return let_start();
  }
  for (UpstreamExchange* at = first_; at; at = at->next_) {
    at->connected = true;
    at->event.ring();
  }
}

// One stream may begin at once; for more, the peer says first how many it takes.
bool UpstreamConnection::may_start() {
  if (connecting_ || broken_) return false;
  if (settled_) return true;
  return !std::exchange(first_started_, true);
}

// In the order in which they came: who opened the connection is the first.
void UpstreamConnection::let_start() {
  UpstreamExchange* oldest = first_;
  while (oldest && oldest->next_) oldest = oldest->next_;
  for (UpstreamExchange* at = oldest; at; at = at->previous_) {
    if (at->connected || !may_start()) continue;
    at->connected = true;
    at->event.ring();
  }
}

void UpstreamConnection::on_settings() {
  if (!shareable) return;
  settled_ = true;
  let_start();
}

void UpstreamConnection::fail(const char* call, int error) {
  broken_ = true;
  const net::Layer* layer = stream_ ? stream_->layer() : nullptr;
  for (UpstreamExchange* at = first_; at; at = at->next_) {
    if (!at->closed) {
      at->closed = true;
      at->failure = layer ? layer->failure() : nullptr;
      at->error = error;
      at->failed_call = call;
    }
    at->event.ring();
  }
}

// --- the way of a request

bool UpstreamConnection::start(UpstreamExchange& exchange, const MessageHead& head, bool end) {
  exchange.stream = codec_->open_stream(exchange.arena);
  if (!exchange.stream) return false;
  remember(exchange);
  const size_t before = codec_->output().bytes();
  codec_->send_head(exchange.stream, head, end);
  exchange.request_ended_ = end;
  if (shareable) {
    exchange.bytes_sent += codec_->output().bytes() - before;
    write_later();
  }
  return true;
}

void UpstreamConnection::send(UpstreamExchange& exchange, Chain&& data, bool end) {
  if (!shareable) {
    codec_->send_data(exchange.stream, data, end);
    exchange.request_ended_ = end;
    return;
  }
  while (!data.empty()) {
    Slice slice = data.take_front();
    // Text of the request's arena: the connection may outlive it.
    const bool borrowed = !slice.is_file() && !slice.block();
    exchange.outgoing_.push(borrowed ? Slice::copy_of(slice.view()) : std::move(slice));
  }
  exchange.end_outgoing_ |= end;
  push(exchange);
}

void UpstreamConnection::send_trailers(UpstreamExchange& exchange, const HeaderList& trailers) {
  if (!shareable) {
    codec_->send_trailers(exchange.stream, trailers);
    exchange.request_ended_ = true;
    return;
  }
  exchange.outgoing_trailers_ = trailers;
  exchange.end_outgoing_ = true;
  push(exchange);
}

bool UpstreamConnection::flush(UpstreamExchange& exchange) {
  return shareable ? unsent(exchange) == 0 : flush_at_once(exchange);
}

size_t UpstreamConnection::unsent(const UpstreamExchange& exchange) const {
  if (!codec_) return 0;
  if (!shareable) return codec_->output().bytes();
  return exchange.outgoing_.bytes() + (write_blocked_ ? codec_->output().bytes() : 0);
}

void UpstreamConnection::consumed(UpstreamExchange& exchange, size_t bytes) {
  exchange.owed_ -= bytes;
  codec_->consumed(exchange.stream, bytes);
  if (shareable && !codec_->output().empty()) write_later();
}

// --- the socket

void UpstreamConnection::on_readable() {
  if (handshake_) {
    continue_handshake();
  } else if (shareable) {
    read_shared(kReadsPerEvent);
    leave_if_useless();
  } else {
    read_alone();
  }
}

void UpstreamConnection::on_writable() {
  if (handshake_) return continue_handshake();
  if (connecting_) {
    if (const int error = stream_->socket().connect_error()) return fail("connect()", error);
    return unused_layer_ ? continue_handshake() : connected();
  }
  if (shareable) {
    write_all();
    leave_if_useless();
  } else if (first_) {
    flush_at_once(*first_);
    first_->event.ring();
  }
}

void UpstreamConnection::read_later() {
  if (!shareable) stream_->read_later();
}

// --- what the codec tells

Arena& UpstreamConnection::on_begin(StreamId stream) {
  UpstreamExchange* exchange = find(stream);
  if (exchange) return exchange->arena;
  // Of a stream that was given up: the codec should not ask.
  static thread_local Arena nobody;
  return nobody;
}

void UpstreamConnection::on_interim(StreamId stream, MessageHead& head) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  if (exchange->interim.size() < kInterimLimit) exchange->interim.push_back(&head);
  if (!shareable) return;
  exchange->bytes_received += head.bytes;
  exchange->event.ring();
}

void UpstreamConnection::on_head(StreamId stream, MessageHead& head) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  exchange->head = &head;
  if (!shareable) return;
  exchange->bytes_received += head.bytes;
  exchange->event.ring();
}

void UpstreamConnection::on_data(StreamId stream, Slice data) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) {
    codec_->consumed(stream, data.size());
    return;
  }
  const size_t size = data.size();
  exchange->inbox.push(std::move(data));
  exchange->owed_ += size;
  if (!shareable) return;
  exchange->bytes_received += size;
  exchange->event.ring();
}

void UpstreamConnection::on_trailers(StreamId stream, HeaderList& trailers) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  // The codec's list goes with the call; its text stays in the arena.
  exchange->trailers = exchange->arena.make<HeaderList>(trailers);
}

void UpstreamConnection::on_end(StreamId stream) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  exchange->ended = true;
  if (shareable) exchange->event.ring();
}

void UpstreamConnection::on_surplus(StreamId stream, const char* what) {
  if (UpstreamExchange* exchange = find(stream)) exchange->surplus = what;
}

void UpstreamConnection::on_upgraded(StreamId stream) {
  if (UpstreamExchange* exchange = find(stream)) exchange->upgraded = true;
}

void UpstreamConnection::on_reset(StreamId stream, const Reset& reset) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  if (shareable) {
    // What is left of the request goes nowhere.
    exchange->outgoing_.clear();
    exchange->end_outgoing_ = false;
    exchange->request_ended_ = true;
    exchange->event.ring();
    // RFC 9113 section 8.1: after a complete response this only says that the rest of the request
    // is not wanted.
    if (exchange->ended) return;
  }
  exchange->was_reset = true;
  exchange->reset = reset;
}

void UpstreamConnection::on_writable(StreamId stream) {
  UpstreamExchange* exchange = find(stream);
  if (!exchange) return;
  if (shareable) push(*exchange);
  exchange->event.ring();
}

}  // namespace weir::http
