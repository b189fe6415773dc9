// TLS at the beginning of a connection, and what a new configuration means for it.

#include <algorithm>
#include <string>

#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/http2_settings.h"
#include "engine/http/session.h"
#include "engine/http/session_handshake.h"
#include "engine/log/error_log.h"
#include "engine/net/proxy_protocol.h"
#include "engine/tls/inspect.h"
#include "engine/tls/late_credentials.h"
#include "engine/tls/server_settings.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr char kHandshakeRecord = 0x16;
constexpr std::string_view kHttp2 =
    "\x02"
    "h2"
    "\x08"
    "http/1.1"
    "\x08"
    "http/1.0"
    "\x08"
    "http/0.9";
constexpr std::string_view kHttp1 =
    "\x08"
    "http/1.1"
    "\x08"
    "http/1.0"
    "\x08"
    "http/0.9";

const tls::ServerSettings& settings_of(const VirtualServer& server) {
  return server.scope->get<tls::ServerSettings>();
}

}  // namespace

std::shared_ptr<const tls::ServerContext> SessionHandshake::choose(std::string_view server_name) {
  if (const VirtualServer* found = listener_.find_by_sni(server_name)) server_ = found;
  return settings_of(*server_).context;
}

std::string_view SessionHandshake::alpn_protocols() {
  const bool http2 = listener_.http2 || server_->scope->get<Http2Settings>().enabled;
  return http2 ? kHttp2 : kHttp1;
}

// Names with variables are evaluated by an exchange that has no request yet.
bool SessionHandshake::load_credentials() {
  Exchange probe(session_, 0, generation_, listener_);
  Request& request = probe.stand_in(*server_);
  return tls::load_late_credentials(*session_.tls(), settings_of(*server_), request);
}

Session::State Session::first_state() const {
  if (listener_->proxy_protocol) return State::proxy_header;
  return listener_->ssl && stream_->is_plain() ? State::handshake : State::idle;
}

// The header's bytes are taken from the socket, and none of those that follow: they are OpenSSL's.
bool Session::read_proxy_header_before_tls() {
  char bytes[net::ProxyProtocolReader::kLimit];
  const Transfer peeked = stream_->peek(bytes, sizeof bytes);
  if (peeked.state == Transfer::State::end || peeked.state == Transfer::State::failed) {
    close(false);
    return false;
  }
  if (peeked.state != Transfer::State::done) return false;
  net::ProxyProtocolReader reader;
  const auto result = reader.read({bytes, peeked.bytes});
  switch (result.state) {
    case net::ProxyProtocolReader::State::need_more:
      stream_->socket().saw_drained();
      return false;
    case net::ProxyProtocolReader::State::failed:
      log(Severity::error, reader.error() + " while reading PROXY protocol");
      close(false);
      return false;
    case net::ProxyProtocolReader::State::done:
      break;
  }
  facts_->proxy_protocol = std::make_unique<net::ProxyHeader>(std::move(reader.header()));
  stream_->read(bytes, result.consumed);
  stream_->socket().assume_readable();
  state_ = State::handshake;
  return true;
}

// False: not TLS yet. What ends the connection has closed it.
bool Session::shake_hands() {
  if (!facts_->tls && !begin_handshake()) return false;
  if (state_ != State::handshake) return true;
  tls::ServerLayer& layer = *tls_;
  switch (layer.handshake(stream_->socket())) {
    case tls::HandshakeState::would_block:
      return false;
    case tls::HandshakeState::failed:
      log_tls_failure(" while SSL handshaking");
      close(false);
      return false;
    case tls::HandshakeState::done:
      break;
  }
  layer.handshake_over();
  if (layer.alpn() == "h2") begin_http2();
  handshake_.reset();
  state_ = State::idle;
  return true;
}

// The first byte tells a hello from a request in plain text, which is told so (497).
bool Session::begin_handshake() {
  char first = 0;
  const Transfer peeked = stream_->peek(&first, 1);
  if (peeked.state == Transfer::State::would_block) return false;
  if (peeked.state != Transfer::State::done) {
    log(Severity::info, "client closed connection while SSL handshaking");
    close(false);
    return false;
  }
  if (first != kHandshakeRecord && (first & 0x80) == 0) {
    facts_->plain_on_tls = true;
    state_ = State::idle;
    return true;
  }
  const auto& context = settings_of(*listener_->default_server).context;
  if (!context) {
    close(false);
    return false;
  }
  handshake_ = std::make_unique<SessionHandshake>(*this, worker().generation, *listener_);
  auto layer = std::make_unique<tls::ServerLayer>(context, *handshake_);
  tls_ = layer.get();
  facts_->tls = tls_;
  stream_->set_layer(std::move(layer), this);
  return true;
}

// What OpenSSL said of the connection's failure. False: nothing.
bool Session::log_tls_failure(const char* activity) {
  const net::LayerFailure* failure = tls_ ? tls_->failure() : nullptr;
  if (!failure || failure->text.empty()) return false;
  std::string text = failure->text;
  if (failure->error_number != 0) text += error_number_text(failure->error_number);
  log(failure->severity, text + activity);
  return true;
}

// After a change of configuration: would the client shake hands with the same server today?
bool Session::policy_changed(const std::string& before) const {
  if (listener_ == nullptr) return false;
  if (!tls_) return listener_->ssl && !facts_->plain_on_tls;
  if (!listener_->ssl) return true;
  const VirtualServer* server = listener_->find_by_sni(tls::server_name_of(*tls_));
  if (!server) server = listener_->default_server;
  const auto& context = settings_of(*server).context;
  return !context || context->policy_digest() != before;
}

}  // namespace weir::http
