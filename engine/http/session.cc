#include "engine/http/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/tunnel_handover.h"
#include "engine/net/proxy_protocol.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr size_t kOutputLimit = 64 * 1024;  // a peer that does not read is not read from
constexpr int kReadsPerEvent = 4;           // then others have their turn

uint64_t milliseconds(const conf::Milliseconds& value) {
  return static_cast<uint64_t>(value.value);
}

// The local address costs a system call: it is asked only when several listeners share the socket.
const Listener* find_listener(const Graph& graph, size_t resource, const ConnectionFacts& facts) {
  const Listener* found = nullptr;
  for (const auto& listener : graph.listeners) {
    if (listener->resource != resource) continue;
    if (found != nullptr) return graph.find_listener(resource, facts.local());
    found = listener.get();
  }
  return found;
}

}  // namespace

Session::Session(Sessions& sessions, const net::Address& peer, size_t resource)
    : sessions_(sessions),
      stream_(std::make_unique<net::Stream>()),
      facts_(std::make_unique<ConnectionFacts>()),
      timer_(&Session::timer_fired, this),
      settle_(&Session::settle_later, this),
      resource_(resource) {
  Worker& worker = sessions.worker();
  facts_->serial = worker.next_connection_serial++;
  facts_->accepted_at = worker.loop.now();
  facts_->accepted_wall = worker.loop.wall_milliseconds();
  facts_->peer = peer;
  sessions_.add(*this);
}

Session::~Session() {
  for_each_exchange([](Exchange& exchange) { delete &exchange; });
  sessions_.remove(*this);
}

// False: nothing came of it; the caller destroys the session.
bool Session::start(int descriptor) {
  facts_->descriptor = descriptor;
  if (!stream_->open(worker().loop, descriptor, this)) {
    log(Severity::alert, "epoll_ctl() failed", errno);
    return false;
  }
  if (!look_up_listener()) return false;
  codec_ = sessions_.factory_(*this, limits_);
  state_ = listener_->proxy_protocol ? State::proxy_header : State::idle;
  const auto& server = listener_->default_server->scope->get<ServerSettings>();
  timer_.arm(worker().loop, milliseconds(server.client_header_timeout));
  return true;
}

// --- exchanges by stream

Exchange* Session::find(StreamId stream) const {
  if (exchange_ != nullptr && exchange_stream_ == stream) return exchange_;
  if (!more_exchanges_) return nullptr;
  auto found = more_exchanges_->find(stream);
  return found == more_exchanges_->end() ? nullptr : found->second;
}

void Session::add_exchange(StreamId stream, Exchange* exchange) {
  if (exchange_ == nullptr) {
    exchange_ = exchange;
    exchange_stream_ = stream;
    return;
  }
  if (!more_exchanges_) more_exchanges_ = std::make_unique<std::map<StreamId, Exchange*>>();
  more_exchanges_->emplace(stream, exchange);
}

void Session::remove_exchange(StreamId stream) {
  if (exchange_ != nullptr && exchange_stream_ == stream) {
    exchange_ = nullptr;
  } else if (more_exchanges_) {
    more_exchanges_->erase(stream);
    if (more_exchanges_->empty()) more_exchanges_.reset();
  }
}

bool Session::has_exchanges() const {
  return exchange_ != nullptr || more_exchanges_ != nullptr;
}

template <class Visit>
void Session::for_each_exchange(Visit visit) {
  if (exchange_ != nullptr) visit(*exchange_);
  if (more_exchanges_) {
    for (auto& [stream, exchange] : *more_exchanges_) visit(*exchange);
  }
}

// --- what the codec tells

Arena& Session::on_begin(StreamId stream) {
  ++facts_->requests;
  state_ = State::open;
  auto* exchange = new Exchange(*this, stream, worker().generation, *listener_);
  if (pipelined_) exchange->mark_pipelined();
  add_exchange(stream, exchange);
  return exchange->arena();
}

void Session::on_interim(StreamId, MessageHead&) {}  // client role only

void Session::on_head(StreamId stream, MessageHead& head) {
  timer_.cancel();
  if (Exchange* exchange = find(stream)) exchange->on_head(head);
}

void Session::on_data(StreamId stream, Slice data) {
  if (Exchange* exchange = find(stream)) {
    exchange->on_data(std::move(data));
  } else {
    codec_->consumed(stream, data.size());
  }
}

void Session::on_trailers(StreamId stream, HeaderList& trailers) {
  if (Exchange* exchange = find(stream)) exchange->on_trailers(trailers);
}

void Session::on_end(StreamId stream) {
  if (Exchange* exchange = find(stream)) exchange->on_end();
}

void Session::on_upgraded(StreamId) {}  // begin_tunnel() takes the connection before anything comes

void Session::on_reset(StreamId stream, const Reset& reset) {
  if (find(stream) == nullptr && reset.cause == Reset::Cause::malformed) on_begin(stream);
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return;
  if (timed_out_ && reset.cause != Reset::Cause::malformed) {
    exchange->head_timed_out(reset.head, reset.reason);
  } else {
    exchange->on_reset(reset);
  }
}

void Session::on_goaway(StreamId) {}  // a client that makes no more requests

void Session::on_writable(StreamId stream) {
  if (Exchange* exchange = find(stream)) exchange->on_window();
  flush_wanted_ = true;
}

// --- reading

void Session::on_readable() {
  if (state_ == State::lingering) {
    drop_input();
    return;
  }
  for (int reads = 0; wants_input() && stream_->maybe_readable(); ++reads) {
    if (reads == kReadsPerEvent) {
      stream_->read_later();
      break;
    }
    if (!read_once()) break;
    if (!settle()) return;
  }
  check_peer();
  settle();
}

bool Session::wants_input() const {
  return !unread_ && !input_ended_ && !broken_ && !handed_over_ &&
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
  if (facts_->requests == 0) return;
  const auto& server = listener_->default_server->scope->get<ServerSettings>();
  timer_.arm(worker().loop, milliseconds(server.client_header_timeout));
}

bool Session::prepare_for_request() {
  if (generation_ == worker().generation->number && listener_ != nullptr) return true;
  if (look_up_listener()) return true;
  close(false);
  return false;
}

bool Session::look_up_listener() {
  const Generation& generation = *worker().generation;
  listener_ = nullptr;
  if (resource_ == kNoResource || !generation.http) return false;
  listener_ = find_listener(*generation.http, resource_, *facts_);
  if (listener_ == nullptr) return false;
  generation_ = generation.number;
  limits_ = listener_->default_server->scope->get<ServerSettings>().head_limits;
  return true;
}

// True: the header was complete, `bytes` is what follows it.
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

void Session::break_connection(int error) {
  if (broken_) return;
  broken_ = true;
  if (error != 0 && error != ECONNRESET && error != EPIPE) {
    log(Severity::info, "connection broken", error);
  }
  codec_->output().clear();
  for_each_exchange(
      [](Exchange& exchange) { exchange.peer_gone(exchange.input_ended() ? 499 : 400); });
}

// --- writing

void Session::give_up() {
  break_connection(0);
}

void Session::flush() {
  flush_wanted_ = true;
  wake();
}

void Session::wake() {
  if (settling_) {
    again_ = true;
  } else {
    settle_.schedule(worker().loop);
  }
}

void Session::write_some() {
  if (broken_ || write_blocked_ || handed_over_ || !stream_->is_open()) return;
  Chain& output = codec_->output();
  if (output.empty()) {
    flush_wanted_ = false;
    return;
  }
  net::WriteLimits limits;
  bool files = false;
  for (size_t i = 0; i < output.count() && !files; ++i) files = output[i].is_file();
  if (files && exchange_ != nullptr) {
    limits.send_file_chunk = exchange_->settings().sendfile_max_chunk.value;
  }
  net::WriteResult result = stream_->write(output, limits);
  written_ += result.bytes;
  if (result.state == net::WriteResult::State::failed) {
    if (result.error == EIO && exchange_ != nullptr) {
      exchange_->main().log(Severity::alert, "sendfile() reported that file was truncated");
    }
    break_connection(result.error);
    return;
  }
  write_blocked_ = result.state == net::WriteResult::State::would_block;
  flush_wanted_ = !output.empty();
  if (result.bytes > 0) for_each_exchange([](Exchange& exchange) { exchange.on_written(); });
  if (write_blocked_) for_each_exchange([](Exchange& exchange) { exchange.write_stalled(); });
  // A chunk of a file is out: other connections have their turn.
  if (result.state == net::WriteResult::State::limited) settle_.schedule(worker().loop);
}

void Session::on_writable() {
  write_blocked_ = false;
  flush_wanted_ = true;
  if (state_ != State::lingering) settle();
}

// --- settling: everything that ends or begins, does so here

void Session::settle_later(void* self) {
  static_cast<Session*>(self)->settle();
}

// False: the session is gone.
bool Session::settle() {
  if (settling_) return true;
  settling_ = true;
  settle_.cancel();
  again_ = true;
  while (again_) {
    again_ = false;
    bool progress = feed_unread();
    tell_end();
    for_each_exchange([](Exchange& exchange) { exchange.settle(); });
    if (flush_wanted_ && !write_blocked_ && !settle_.scheduled()) write_some();
    while (Exchange* exchange = find_over()) {
      if (!end_exchange(*exchange)) return false;
      progress = true;
    }
    again_ = again_ || progress;
  }
  settling_ = false;
  if (state_ == State::closed || (handed_over_ && !has_exchanges()) ||
      ((broken_ || end_told_) && !has_exchanges() && is_drained())) {
    if (state_ == State::idle && end_told_) log_farewell();
    destroy();
    return false;
  }
  if (wants_input() && stream_->maybe_readable()) stream_->read_later();
  if (flush_wanted_ && !write_blocked_ && !broken_) settle_.schedule(worker().loop);
  return true;
}

void Session::log_farewell() {
  if (facts_->requests == 0) {
    log(Severity::info, "client closed connection while waiting for request");
  } else {
    log(Severity::info, "client " + facts_->peer.host_text() + " closed keepalive connection", 0,
        false);
  }
}

bool Session::is_drained() const {
  return broken_ || handed_over_ || codec_->output().empty();
}

Exchange* Session::find_over() {
  Exchange* found = nullptr;
  for_each_exchange([&found](Exchange& exchange) {
    if (found == nullptr && exchange.over()) found = &exchange;
  });
  return found;
}

// False: the session is gone.
bool Session::end_exchange(Exchange& exchange) {
  if (handed_over_) {
    remove_exchange(exchange.stream());
    delete &exchange;
    destroy();
    return false;
  }
  bool keep = exchange.may_keep_alive();
  bool reset = exchange.wants_reset();
  bool linger = exchange.wants_lingering();
  const CoreSettings& settings = exchange.settings();
  bool seek_more = settings.lingering_close != LingeringClose::off && !broken_ &&
                   (unread_ || stream_->maybe_readable());
  uint64_t idle_time = milliseconds(settings.keepalive_timeout);
  uint64_t idle_minimum = milliseconds(settings.keepalive_min_timeout);
  uint64_t lingering_time = milliseconds(settings.lingering_time);
  uint64_t lingering_timeout = milliseconds(settings.lingering_timeout);
  bool no_delay = settings.tcp_nodelay;
  remove_exchange(exchange.stream());
  delete &exchange;
  if (has_exchanges()) return true;
  if (broken_ || timed_out_ || reset || state_ == State::closed) {
    close(reset);
  } else if (keep) {
    codec_->next_exchange();
    go_idle(idle_time, idle_minimum, no_delay);
    return true;
  } else if (linger || seek_more) {
    begin_lingering(lingering_time, lingering_timeout);
    return true;
  } else {
    close(reset);
  }
  destroy();
  return false;
}

void Session::go_idle(uint64_t timeout, uint64_t minimum, bool no_delay) {
  state_ = State::idle;
  pipelined_ = unread_ != nullptr;
  head_bytes_ = 0;
  if (no_delay && !no_delay_set_ && !facts_->peer.is_unix()) {
    no_delay_set_ = true;
    int on = 1;
    ::setsockopt(stream_->descriptor(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  deadline_ = minimum == 0 ? 0 : worker().loop.now() + minimum;
  timer_.arm(worker().loop, timeout);
  if (unread_) return;
  codec_->release_memory();
  codec_->output().release();
}

void Session::begin_lingering(uint64_t time, uint64_t timeout) {
  state_ = State::lingering;
  unread_.reset();
  stream_->shutdown();
  deadline_ = worker().loop.now() + time;
  lingering_timeout_ = static_cast<uint32_t>(timeout);
  timer_.arm(worker().loop, std::min(time, timeout));
  if (stream_->maybe_readable()) stream_->read_later();
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
    if (transfer.state != Transfer::State::done || worker().loop.now() >= deadline_) {
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

void Session::timer_fired(void* self) {
  static_cast<Session*>(self)->on_timer();
}

void Session::on_timer() {
  if (state_ == State::open) {
    // The codec gives what it has of a head: the exchange that comes of it logs 408.
    timed_out_ = true;
    input_ended_ = end_told_ = true;
    unread_.reset();
    codec_->end_of_input();
    settle();
    return;
  }
  if (state_ == State::idle && facts_->requests == 0) {
    log(Severity::info, "client timed out (110: Connection timed out) while waiting for request");
  } else if (state_ == State::proxy_header) {
    log(Severity::info,
        "client timed out (110: Connection timed out) while reading PROXY protocol");
  }
  close(false);
  destroy();
}

void Session::drain() {
  bool fresh = facts_->requests == 0 && stream_->maybe_readable();
  if (state_ != State::idle || has_exchanges() || fresh || unread_) {
    codec_->finish_connection();
    flush();
    return;
  }
  uint64_t now = worker().loop.now();
  if (deadline_ > now) {
    timer_.arm(worker().loop, deadline_ - now);
    return;
  }
  destroy();
}

// After a change of configuration: the listener has another number now, or is gone.
void Session::move_to(size_t resource) {
  resource_ = resource;
  listener_ = nullptr;
  generation_ = 0;
  if (resource == kNoResource && !has_exchanges()) {
    destroy();
    return;
  }
  if (resource == kNoResource) {
    codec_->finish_connection();
    for_each_exchange([](Exchange& exchange) { exchange.disable_keep_alive(); });
    return;
  }
  look_up_listener();
}

void Session::hand_over(TunnelHandover& to) {
  handed_over_ = true;
  flush_wanted_ = false;
  timer_.cancel();
  if (unread_) to.early_bytes.push(std::move(*unread_));
  unread_.reset();
  to.unsent.append(std::move(codec_->output()));
  to.stream = std::move(stream_);
  to.facts = std::move(facts_);
}

void Session::forget(Exchange& exchange) {
  remove_exchange(exchange.stream());
}

void Session::close(bool with_reset) {
  state_ = State::closed;
  if (!stream_ || !stream_->is_open()) return;
  if (with_reset) {
    stream_->close_with_reset();
  } else {
    stream_->close();
  }
}

void Session::destroy() {
  delete this;
}

void Session::log(Severity severity, std::string text, int error_number, bool with_context) {
  if (listener_ == nullptr) return;
  const auto& core = listener_->default_server->scope->get<CoreSettings>();
  const auto& targets = core.error_log ? *core.error_log : *worker().generation->http->error_log;
  if (!ErrorLog::wants(targets, severity)) return;
  if (with_context) {
    text += ", client: " + facts_->peer.host_text();
    text += ", server: " + listener_->options.address.text();
  }
  worker().error_log.write(targets, severity, facts_->serial, text, error_number);
}

}  // namespace weir::http
