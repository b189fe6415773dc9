#include "engine/http/session.h"
#include "engine/http/session_handshake.h"

#include <cerrno>
#include <string>

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/tunnel_handover.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

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
  exchange_ = nullptr;
  more_exchanges_.reset();
  sessions_.remove(*this);
}

// False: nothing came of it; the caller destroys the session.
bool Session::start(int descriptor, std::unique_ptr<net::Layer> layer) {
  facts_->descriptor = descriptor;
  if (!stream_->open(worker().loop, descriptor, this)) {
    log(Severity::alert, "epoll_ctl() failed", errno);
    return false;
  }
  if (layer) {
    auto& secure = static_cast<tls::ServerLayer&>(*layer);  // clients have no others
    secure.move_to(stream_->socket());
    facts_->tls = &secure;
    stream_->set_layer(std::move(layer), this);
    stream_->read_later();  // it may have bytes that the socket does not show
  }
  if (!look_up_listener()) return false;
  codec_ = sessions_.factory_(*this, limits_);
  state_ = first_state();
  may_be_http2_ = (!listener_->ssl || facts_->tls) && may_begin_http2();
  const auto& server = listener_->default_server->scope->get<ServerSettings>();
  timer_.arm(worker().loop, static_cast<uint64_t>(server.client_header_timeout.value));
  return true;
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
  if (!more_exchanges_) more_exchanges_ = std::make_unique<ExchangeMap>();
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

// --- what the codec tells

Arena& Session::on_begin(StreamId stream) {
  ++facts_->requests;
  // Until its head is whole nothing else can come: whatever its other streams do, the connection
  // has that long.
  head_begun_ = facts_->requests > 1;  // (the first has been timed since the accept)
  state_ = State::open;
  auto* exchange = new Exchange(*this, stream, worker().generation, *listener_);
  if (pipelined_) exchange->mark_pipelined();
  add_exchange(stream, exchange);
  return exchange->arena();
}

void Session::on_interim(StreamId, MessageHead&) {}  // client role only

void Session::on_head(StreamId stream, MessageHead& head) {
  timer_.cancel();
  head_begun_ = false;
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
  if (multiplexed_) {
    timer_.cancel();  // that of its head; others have none
    head_begun_ = false;
  }
  if (find(stream) == nullptr && reset.cause == Reset::Cause::malformed) on_begin(stream);
  Exchange* exchange = find(stream);
  if (exchange == nullptr) return;
  // (Other streams of a connection whose time is over had their heads.)
  if (timed_out_ && reset.cause != Reset::Cause::malformed && (!multiplexed_ || reset.head)) {
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

// --- an end of it all

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
