#include "engine/http/tunnel.h"

#include <cstring>

#include "engine/http/graph.h"
#include "engine/http/tunnel_handover.h"
#include "engine/net/relay.h"
#include "engine/net/socket_options.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

class Tunnel;
thread_local Tunnel* first_tunnel = nullptr;
thread_local size_t tunnels = 0;

// Idle it is this object and two streams: no buffer, no coroutine, no request. The client is the
// relay's first side.
class Tunnel final : public net::RelayOwner {
 public:
  Tunnel(Worker& worker, TunnelHandover& client, std::unique_ptr<net::Stream> upstream,
         std::unique_ptr<upstream::Selection> use, const TunnelOptions& options)
      : client_(std::move(client.stream)),
        upstream_(std::move(upstream)),
        relay_(worker.loop, *this, *client_, *upstream_, relay_options(options)),
        worker_(worker),
        facts_(std::move(client.facts)),
        log_(std::move(client.log)),
        log_use_(std::move(client.log_use)),
        use_(std::move(use)),
        error_log_(options.error_log),
        context_(options.context),
        connection_(options.connection) {
    ++worker_.connections;  // the upstream's
    next_ = first_tunnel;
    if (next_) next_->previous_ = this;
    first_tunnel = this;
    ++tunnels;
  }
  ~Tunnel();

  void start(Chain&& unsent, Chain&& early, Chain&& early_bytes) {
    head_left_ = unsent.bytes();
    early_bytes_ = early_bytes.bytes();
    relay_.to_first() = std::move(unsent);
    relay_.to_first().append(std::move(early));
    relay_.to_second() = std::move(early_bytes);
    relay_.start();
  }
  void end() { delete this; }

  void relay_over(Over how, bool, int error) override {
    if (how == Over::timed_out) {
      const bool client_waits = relay_.first_waits();
      log(Severity::info, client_waits ? "client timed out" : "upstream timed out", error);
    }
    end();
  }
  void relay_read_failed(bool by_upstream, int error) override {
    log(by_upstream ? Severity::error : Severity::info, "recv() failed", error);
  }

 private:
  static net::RelayOptions relay_options(const TunnelOptions& options) {
    net::RelayOptions relay;
    relay.timeout = options.read_timeout;
    relay.send_timeout = options.send_timeout;
    return relay;
  }
  void log(Severity severity, std::string_view what, int error);

  std::unique_ptr<net::Stream> client_;
  std::unique_ptr<net::Stream> upstream_;
  net::Relay relay_;
  Worker& worker_;
  std::unique_ptr<ConnectionFacts> facts_;
  PendingLog log_;
  std::shared_ptr<const void> log_use_;
  std::unique_ptr<upstream::Selection> use_;
  std::shared_ptr<const ErrorLogTargets> error_log_;
  std::string context_;
  uint64_t connection_;
  uint64_t head_left_ = 0;
  uint64_t early_bytes_ = 0;  // came before the tunnel, through the session
  Tunnel* next_ = nullptr;
  Tunnel* previous_ = nullptr;

  friend void weir::http::close_tunnels();
};

Tunnel::~Tunnel() {
  (previous_ ? previous_->next_ : first_tunnel) = next_;
  if (next_) next_->previous_ = previous_;
  --tunnels;
  --worker_.connections;
  if (use_) use_->finish(upstream::Selection::Result::ok);
  client_->close();
  upstream_->close();
  TunnelEnd end;
  // The rest of the 101 head was counted when it was queued.
  end.sent_to_client = relay_.first_sent() > head_left_ ? relay_.first_sent() - head_left_ : 0;
  end.received_from_client = relay_.first_received() + early_bytes_;
  end.sent_to_upstream = relay_.second_sent();
  end.received_from_upstream = relay_.second_received();
  end.now = worker_.loop.now();
  end.wall = worker_.loop.wall_milliseconds();
  log_.finish(end);
}

void Tunnel::log(Severity severity, std::string_view what, int error) {
  const ErrorLogTargets* targets = error_log_.get();
  if (!targets && worker_.generation && worker_.generation->http) {
    targets = worker_.generation->http->error_log.get();
  }
  if (!targets || !ErrorLog::wants(*targets, severity)) return;
  std::string text(what);
  text += " (" + std::to_string(error) + ": " + std::strerror(error) +
          ") while proxying upgraded connection" + context_;
  worker_.error_log.write(*targets, severity, connection_, text);
}

}  // namespace

void start_tunnel(Worker& worker, std::unique_ptr<TunnelHandover> client,
                  std::unique_ptr<net::Stream> upstream, Chain early,
                  std::unique_ptr<upstream::Selection> use, const TunnelOptions& options) {
  for (const net::Stream* stream : {client->stream.get(), upstream.get()}) {
    (void)net::set_no_delay(stream->descriptor(), true);  // refused by unix sockets
  }
  auto* tunnel = new Tunnel(worker, *client, std::move(upstream), std::move(use), options);
  tunnel->start(std::move(client->unsent), std::move(early), std::move(client->early_bytes));
}

size_t tunnel_count() {
  return tunnels;
}

void close_tunnels() {
  while (first_tunnel) first_tunnel->end();
}

}  // namespace weir::http
