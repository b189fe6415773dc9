#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "engine/event/loop.h"
#include "engine/event/watcher.h"
#include "engine/net/connector.h"
#include "engine/net/proxy_protocol.h"
#include "engine/net/stream.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"
#include "modules/stream/health_check.h"
#include "modules/stream/proxy.h"

// One connection, or datagram, after another to one peer, with the settings of the server's
// sessions.
namespace weir::stream {
namespace {

using proxy::ProxySettings;
using upstream::ProbeResult;

constexpr std::string_view kDatagram = "nginx health check";
constexpr size_t kLargestDatagram = 65535;

// Nobody asked: variables have no values.
class NoClient final : public conf::VariableSource {
 public:
  conf::Value variable(conf::VariableId) override { return conf::Value::none(); }
  bool match(const conf::Pattern&, std::string_view) override { return false; }
  char* allocate(size_t size) override {
    memory_.push_back(std::make_unique<char[]>(size));
    return memory_.back().get();
  }

 private:
  std::vector<std::unique_ptr<char[]>> memory_;
};

// What both kinds have in common.
class StreamProber : public upstream::Prober {
 public:
  StreamProber(upstream::ProbeTarget target, upstream::ProbeListener& listener,
               const StreamHealthCheck& check)
      : Prober(std::move(target), listener),
        check_(check),
        settings_(check.server->scope->get<ProxySettings>()),
        timer_(&StreamProber::time_is_up, this) {}

 protected:
  // Closes what is open; the check is over.
  virtual void close() = 0;
  void end(ProbeResult result) {
    timer_.cancel();
    close();
    finish(result);
  }
  void fail(std::string_view text, int error) {
    log(Severity::error, text, error);
    end(ProbeResult::failed);
  }
  virtual void timed_out() { fail("upstream timed out", ETIMEDOUT); }
  bool expects() const { return check_.tests && check_.tests->expects(); }
  uint64_t timeout() const {
    return static_cast<uint64_t>(check_.server->scope->get<HealthSettings>().timeout.value);
  }
  // False: there is no room for another connection.
  bool has_room() {
    if (worker().has_room()) return true;
    log(Severity::alert,
        std::to_string(worker().connection_limit) + " worker_connections are not enough");
    finish(ProbeResult::unknown);
    return false;
  }
  void not_opened(const net::ConnectResult& result, const net::ConnectOptions& options) {
    const bool refused = result.state == net::ConnectResult::State::refused;
    log(refused ? Severity::error : Severity::alert,
        net::failure_text(result, target().address, options), result.error);
    end(refused ? ProbeResult::failed : ProbeResult::unknown);
  }
  net::ConnectOptions connect_options();
  // Ahead of all else: of a connection from us, not passed on from anybody.
  std::string proxy_header(int descriptor) const;

  const StreamHealthCheck& check_;
  const ProxySettings& settings_;
  NoClient nobody_;
  Timer timer_;

 private:
  static void time_is_up(void* self) { static_cast<StreamProber*>(self)->timed_out(); }
};

net::ConnectOptions StreamProber::connect_options() {
  net::ConnectOptions options;
  options.keepalive = settings_.socket_keepalive;
  if (settings_.socket_rcvbuf) {
    options.receive_buffer = static_cast<int>(settings_.socket_rcvbuf->value);
  }
  if (settings_.socket_sndbuf) {
    options.send_buffer = static_cast<int>(settings_.socket_sndbuf->value);
  }
  // A local address made of variables is that of a client.
  if (!settings_.bind.enabled || !settings_.bind.template_.empty()) return options;
  options.bind = settings_.bind.address;
  options.transparent = settings_.bind.transparent;
  return options;
}

std::string StreamProber::proxy_header(int descriptor) const {
  if (settings_.protocol == proxy::Protocol::off) return {};
  const net::Address local = net::Address::local_of(descriptor);
  return settings_.protocol == proxy::Protocol::on
             ? net::write_proxy_header_v1(local, target().address)
             : net::write_proxy_header_v2(local, target().address);
}

class TcpProber final : public StreamProber, private SocketHandler {
 public:
  using StreamProber::StreamProber;
  ~TcpProber() override { TcpProber::close(); }
  void begin() override;

 private:
  enum class State : uint8_t { idle, connecting, header, handshake, talking };

  void close() override;
  void on_readable() override { go_on(); }
  void on_writable() override { go_on(); }
  void go_on();
  void connected();
  void begin_handshake();
  void shake_hands();
  void talk();
  bool write();
  void read();

  net::Stream stream_;
  State state_ = State::idle;
  tls::ClientLayer* layer_ = nullptr;  // stream_'s
  Chain output_;
  std::string received_;
  uint64_t deadline_ = 0;
  bool counted_ = false;
};

void TcpProber::close() {
  state_ = State::idle;
  layer_ = nullptr;
  output_.clear();
  received_.clear();
  if (stream_.is_open()) stream_.close();
  if (counted_) --worker().connections;
  counted_ = false;
}

void TcpProber::begin() {
  set_activity("connecting to upstream");
  if (!has_room()) return;
  ++worker().connections;
  counted_ = true;
  deadline_ = worker().loop.now() + timeout();
  state_ = State::connecting;
  const net::ConnectOptions options = connect_options();
  const net::ConnectResult result =
      net::start_connect(worker().loop, stream_.socket(), this, target().address, options);
  switch (result.state) {
    case net::ConnectResult::State::failed:
    case net::ConnectResult::State::refused:
      return not_opened(result, options);
    case net::ConnectResult::State::connected:
      return connected();
    case net::ConnectResult::State::pending:
      timer_.arm(worker().loop,
                 std::min(timeout(), static_cast<uint64_t>(settings_.connect_timeout.value)));
  }
}

void TcpProber::go_on() {
  switch (state_) {
    case State::idle:
      return;
    case State::connecting:
      if (const int error = stream_.socket().connect_error()) {
        return fail("connect() failed", error);
      }
      return connected();
    case State::header:
      if (write()) begin_handshake();
      return;
    case State::handshake:
      return shake_hands();
    case State::talking:
      return talk();
  }
}

void TcpProber::connected() {
  const uint64_t now = worker().loop.now();
  timer_.arm(worker().loop, deadline_ > now ? deadline_ - now : 0);
  const std::string header = proxy_header(stream_.descriptor());
  if (!header.empty()) output_.push(Slice::copy_of(header));
  if (!settings_.ssl) {
    state_ = State::talking;
    if (check_.tests && check_.tests->send()) output_.push(Slice::copy_of(*check_.tests->send()));
    return talk();
  }
  state_ = State::header;
  if (write()) begin_handshake();
}

void TcpProber::begin_handshake() {
  set_activity("SSL handshaking to upstream");
  if (!settings_.tls_context) return end(ProbeResult::unknown);
  const UpstreamTlsSettings& settings = settings_.tls;
  const std::string name(settings.name.empty() ? std::string_view(target().cluster.host)
                                               : settings.name.evaluate(nobody_));
  tls::ClientParameters parameters;
  parameters.verify_name = name;
  if (settings.server_name) parameters.server_name = name;
  parameters.alpn = settings_.alpn;
  parameters.peer = target().peer;
  state_ = State::handshake;
  auto layer = std::make_unique<tls::ClientLayer>(settings_.tls_context, parameters);
  layer_ = layer.get();
  stream_.set_layer(std::move(layer), this);
  shake_hands();
}

void TcpProber::shake_hands() {
  switch (layer_->handshake(stream_.socket())) {
    case tls::HandshakeState::would_block:
      return;
    case tls::HandshakeState::failed: {
      if (const net::LayerFailure* failure = layer_->failure()) {
        log(failure->severity, failure->text, failure->error_number);
      }
      return end(ProbeResult::failed);
    }
    case tls::HandshakeState::done:
      break;
  }
  state_ = State::talking;
  if (check_.tests && check_.tests->send()) output_.push(Slice::copy_of(*check_.tests->send()));
  talk();
}

// False: the rest waits, or the check is over.
bool TcpProber::write() {
  if (output_.empty()) return true;
  const net::WriteResult result = stream_.write(output_);
  if (result.state == net::WriteResult::State::done) return true;
  if (result.state != net::WriteResult::State::failed) return false;
  set_activity("sending to upstream");
  fail("send() failed", result.error);
  return false;
}

void TcpProber::talk() {
  if (!output_.empty()) set_activity("sending to upstream");
  // An answer may come before all was sent.
  const bool sent = write();
  if (state_ == State::idle) return;
  if (!expects()) {
    if (sent) end(ProbeResult::passed);
    return;
  }
  if (sent) set_activity("reading from upstream");
  read();
}

void TcpProber::read() {
  const size_t limit = settings_.buffer_size.value;
  char buffer[4096];
  for (;;) {
    const size_t room = std::min(sizeof buffer, limit - received_.size());
    if (room == 0) {
      set_activity("checking data");
      log(Severity::info, "unexpected data");
      return end(ProbeResult::failed);
    }
    const Transfer moved = stream_.read(buffer, room);
    if (moved.state == Transfer::State::would_block) return;
    if (moved.state == Transfer::State::failed) return fail("recv() failed", moved.error);
    if (moved.state == Transfer::State::end) {
      return fail("upstream prematurely closed connection", 0);
    }
    received_.append(buffer, moved.bytes);
    if (check_.tests->is_met_by(received_)) {
      set_activity("checking data");
      return end(ProbeResult::passed);
    }
  }
}

// With a connected socket the kernel tells of ICMP errors.
class DatagramProber final : public StreamProber {
 public:
  DatagramProber(upstream::ProbeTarget target, upstream::ProbeListener& listener,
                 const StreamHealthCheck& check)
      : StreamProber(std::move(target), listener, check),
        watcher_(&DatagramProber::readable, this) {}
  ~DatagramProber() override { DatagramProber::close(); }
  void begin() override;

 private:
  void close() override {
    watcher_.close();
    if (descriptor_ >= 0) {
      ::close(descriptor_);
      --worker().connections;
    }
    descriptor_ = -1;
  }
  // No error came, and more was not asked for.
  void timed_out() override {
    if (expects()) return StreamProber::timed_out();
    end(ProbeResult::passed);
  }
  static void readable(void* self, uint32_t) { static_cast<DatagramProber*>(self)->receive(); }
  void receive();

  Watcher watcher_;
  int descriptor_ = -1;
};

void DatagramProber::begin() {
  set_activity("connecting to upstream");
  if (!has_room()) return;
  const net::ConnectOptions options = connect_options();
  const net::DatagramSocket opened = net::open_datagram_socket(target().address, options);
  if (opened.descriptor < 0) return not_opened(opened.result, options);
  descriptor_ = opened.descriptor;
  ++worker().connections;
  if (const int error = watcher_.open(worker().loop, descriptor_, EPOLLIN)) {
    log(Severity::alert, "epoll_ctl() failed", error);
    return end(ProbeResult::unknown);
  }
  set_activity("sending to upstream");
  std::string text = proxy_header(descriptor_);
  text +=
      check_.tests && check_.tests->send() ? std::string_view(*check_.tests->send()) : kDatagram;
  if (::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL) < 0) {
    return fail("send() failed", errno);
  }
  set_activity("reading from upstream");
  timer_.arm(worker().loop, timeout());
}

void DatagramProber::receive() {
  thread_local std::unique_ptr<char[]> buffer(new char[kLargestDatagram]);
  for (;;) {
    const ssize_t count = ::recv(descriptor_, buffer.get(), kLargestDatagram, MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return fail("recv() failed", errno);
    }
    const auto size = std::min(static_cast<size_t>(count), settings_.buffer_size.value);
    if (!expects() || check_.tests->is_met_by({buffer.get(), size})) {
      set_activity("checking data");
      return end(ProbeResult::passed);
    }
    set_activity("checking data");
    log(Severity::info, "unexpected data");
    return end(ProbeResult::failed);
  }
}

}  // namespace

std::unique_ptr<upstream::Prober> StreamHealthCheck::make_prober(
    upstream::ProbeTarget target, upstream::ProbeListener& listener) const {
  if (datagram) return std::make_unique<DatagramProber>(std::move(target), listener, *this);
  return std::make_unique<TcpProber>(std::move(target), listener, *this);
}

}  // namespace weir::stream
