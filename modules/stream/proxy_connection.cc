#include <cerrno>
#include <optional>

#include "engine/event/loop.h"
#include "engine/net/relay.h"
#include "engine/tls/credential_cache.h"
#include "engine/tls/layer.h"
#include "modules/stream/proxy_run.h"
#include "modules/stream/values.h"

// A client's connection, passed to an upstream's.
namespace weir::stream::proxy {
namespace {

class ProxyConnection final : public ProxyRun,
                              public SocketHandler,
                              public net::RelayOwner,
                              public Pooled {
 public:
  explicit ProxyConnection(Session& session) : ProxyRun(session) {}
  ~ProxyConnection() override {
    // The farewell of TLS, as far as it goes at once.
    if (relay_ && !upstream_.is_plain()) (void)upstream_.shutdown();
  }

  void update() override {
    if (relay_) {
      session_.received = relay_->first_received();
      session_.sent = relay_->first_sent();
      const uint64_t first = relay_->second_first_byte_at();
      if (first && attempt().first_byte_time < 0) {
        attempt().first_byte_time =
            static_cast<int64_t>(first - (worker_.loop.now() - attempt_age()));
      }
    }
    ProxyRun::update();
  }

  // SocketHandler of the upstream while it connects.
  void on_readable() override { go_on(); }
  void on_writable() override { go_on(); }

  bool only_relays() const override { return relay_.has_value(); }

  void relay_over(Over how, bool by_upstream, int error) override;
  void relay_read_failed(bool by_upstream, int error) override;

 private:
  void open(const net::Address& peer) override;
  uint64_t upstream_sent() const override {
    return header_sent_ + (relay_ ? relay_->second_sent() : 0);
  }
  uint64_t upstream_received() const override { return relay_ ? relay_->second_received() : 0; }
  int descriptor() const override { return upstream_.descriptor(); }
  static void connect_time(void* self);
  void go_on();
  void established();
  // What goes ahead of the handshake. False: the rest waits, or the attempt has failed.
  bool send_header();
  void begin_handshake();
  void shake_hands();
  void start_relay();

  // What is needed until the connection is there, and not while it lives.
  struct Connecting {
    explicit Connecting(ProxyConnection& run) : timer(&ProxyConnection::connect_time, &run) {}
    Timer timer;
    bool waits = true;                  // for connect()
    tls::ClientLayer* layer = nullptr;  // upstream_'s
    Chain header;                       // the PROXY protocol's, before TLS
  };

  net::Stream upstream_;
  uint32_t header_sent_ = 0;  // ahead of a handshake
  std::unique_ptr<Connecting> connecting_;
  std::optional<net::Relay> relay_;
};

void ProxyConnection::open(const net::Address& peer) {
  if (!connecting_) connecting_ = std::make_unique<Connecting>(*this);
  header_sent_ = 0;
  connecting_->waits = false;
  const net::ConnectOptions options = connect_options();
  const net::ConnectResult result =
      net::start_connect(worker_.loop, upstream_.socket(), this, peer, options);
  switch (result.state) {
    case net::ConnectResult::State::failed:
      session_.log(Severity::alert, net::failure_text(result, peer, options), result.error);
      return session_.finish(500);
    case net::ConnectResult::State::refused:
      session_.log(connect_severity(result.error), net::failure_text(result, peer, options),
                   result.error);
      return attempt_failed();
    case net::ConnectResult::State::connected:
      return established();
    case net::ConnectResult::State::pending:
      connecting_->waits = true;
      connecting_->timer.arm(worker_.loop, static_cast<uint64_t>(settings_.connect_timeout.value));
  }
}

void ProxyConnection::connect_time(void* self) {
  auto& run = *static_cast<ProxyConnection*>(self);
  if (run.session_.finished()) return;
  run.session_.log(Severity::error, "upstream timed out", ETIMEDOUT);
  run.connecting_->layer = nullptr;
  run.connecting_->header = {};
  run.connecting_->waits = false;
  run.upstream_.close();
  run.attempt_failed();
}

void ProxyConnection::go_on() {
  if (session_.finished() || relay_) return;
  if (connecting_->layer) return shake_hands();
  if (!connecting_->waits) {
    if (!connecting_->header.empty() && send_header()) begin_handshake();
    return;
  }
  connecting_->waits = false;
  if (const int error = upstream_.socket().connect_error()) {
    connecting_->timer.cancel();
    session_.log(connect_severity(error), "connect() failed", error);
    upstream_.close();
    return attempt_failed();
  }
  established();
}

void ProxyConnection::established() {
  if (!settings_.ssl) {
    connecting_->timer.cancel();
    return start_relay();
  }
  connecting_->timer.arm(worker_.loop, static_cast<uint64_t>(settings_.connect_timeout.value));
  const std::string header = proxy_header();
  if (!header.empty()) connecting_->header.push(Slice::copy_of(header));
  if (send_header()) begin_handshake();
}

bool ProxyConnection::send_header() {
  if (connecting_->header.empty()) return true;
  session_.set_activity("sending PROXY protocol header to upstream");
  const net::WriteResult result = upstream_.write(connecting_->header);
  header_sent_ += static_cast<uint32_t>(result.bytes);
  if (result.state == net::WriteResult::State::done) return true;
  if (result.state == net::WriteResult::State::failed) {
    connecting_->timer.cancel();
    session_.log(Severity::error, "send() failed", result.error);
    upstream_.close();
    attempt_failed();
  }
  return false;
}

void ProxyConnection::begin_handshake() {
  session_.set_activity("SSL handshaking to upstream");
  const UpstreamTlsSettings& settings = settings_.tls;
  if (!settings_.tls_context) return session_.finish(500);
  std::string name(settings.name.empty() ? std::string_view(cluster().host)
                                         : settings.name.evaluate(session_));
  // It may have a port, as in a name made of variables.
  const size_t bracket = name.rfind(']');
  const size_t colon = name.rfind(':');
  const bool is_six = name.starts_with('[');
  if (colon != std::string::npos && (is_six ? colon == bracket + 1 : name.find(':') == colon)) {
    name.resize(colon);
  }
  tls::ClientParameters parameters;
  parameters.verify_name = name;
  if (settings.server_name) parameters.server_name = name;
  parameters.alpn = settings_.alpn;
  parameters.peer = attempt().peer;
  tls::LoadedCredential loaded;
  if (settings.late_certificate()) {
    const std::string_view certificate = settings.certificate.evaluate(session_);
    if (!certificate.empty()) {
      tls::Credential credential{
          tls::full_name(settings.folder, certificate),
          tls::full_name(settings.folder, settings.certificate_key.evaluate(session_))};
      std::string problem;
      if (!tls::load_credential(credential, settings_.tls_context->options().password_file,
                                settings.cache, loaded, problem)) {
        session_.log(Severity::error, problem);
        return session_.finish(500);
      }
      parameters.credential = &loaded;
    }
  }
  auto layer = std::make_unique<tls::ClientLayer>(settings_.tls_context, parameters);
  connecting_->layer = layer.get();
  upstream_.set_layer(std::move(layer), this);
  shake_hands();
}

void ProxyConnection::shake_hands() {
  switch (connecting_->layer->handshake(upstream_.socket())) {
    case tls::HandshakeState::would_block:
      return;
    case tls::HandshakeState::failed: {
      connecting_->timer.cancel();
      const net::LayerFailure* failure = connecting_->layer->failure();
      if (failure) session_.log(failure->severity, failure->text, failure->error_number);
      connecting_->layer = nullptr;
      upstream_.close();
      return attempt_failed();
    }
    case tls::HandshakeState::done:
      break;
  }
  connecting_->timer.cancel();
  start_relay();
}

void ProxyConnection::start_relay() {
  connecting_.reset();
  connected();
  net::RelayOptions options;
  options.timeout = static_cast<uint64_t>(settings_.timeout.value);
  options.half_close = settings_.half_close;
  options.read_error_ends = false;
  options.no_delay = session_.settings<CoreSettings>().tcp_nodelay;
  options.buffer = settings_.buffer_size.value;
  options.first_rate = rate(settings_.upload_rate);
  options.second_rate = rate(settings_.download_rate);
  relay_.emplace(worker_.loop, *this, session_.client(), upstream_, options);
  const std::string header = settings_.ssl ? std::string() : proxy_header();
  if (!header.empty()) relay_->to_second().push(Slice::copy_of(header));
  session_.relaying();
  relay_->start();
}

void ProxyConnection::relay_read_failed(bool by_upstream, int error) {
  if (by_upstream && attempt().first_byte_time < 0) {
    attempt().first_byte_time = static_cast<int64_t>(attempt_age());
  }
  session_.set_activity(by_upstream ? "proxying and reading from upstream"
                                    : "proxying and reading from client");
  session_.log(by_upstream ? Severity::error : Severity::info, "recv() failed", error);
}

void ProxyConnection::relay_over(Over how, bool by_upstream, int error) {
  update();
  switch (how) {
    case Over::ended:
      if (session_.wants_log(Severity::info)) {
        session_.log_plain(
            Severity::info,
            std::string(by_upstream ? "upstream" : "client") +
                " disconnected, bytes from/to client:" + std::to_string(session_.received) + "/" +
                std::to_string(session_.sent) + ", bytes from/to upstream:" +
                std::to_string(upstream_received()) + "/" + std::to_string(upstream_sent()));
      }
      break;
    case Over::timed_out:
      session_.set_activity("proxying connection");
      session_.log(Severity::info, "connection timed out", error);
      break;
    case Over::failed:
      session_.set_activity(by_upstream ? "proxying and sending to upstream"
                                        : "proxying and sending to client");
      session_.log(by_upstream ? Severity::error : Severity::info,
                   write_failure(by_upstream ? upstream_ : session_.client()), error);
      break;
  }
  session_.finish(200);
}

}  // namespace

void start_connection(Session& session) {
  auto content = std::make_unique<ProxyConnection>(session);
  ProxyConnection& connection = *content;
  session.set_content(std::move(content));
  connection.begin();
}

}  // namespace weir::stream::proxy
