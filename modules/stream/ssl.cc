#include "modules/shared/ssl.h"

#include <algorithm>

#include "confparse/setters.h"
#include "engine/event/loop.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "engine/tls/inspect.h"
#include "engine/tls/late_credentials.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"
#include "modules/shared/ssl_variables.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_ssl_module: registers the shared TLS settings and variables with stream, and shakes
// hands in the ssl phase.
namespace weir::stream {
namespace {

using namespace conf;

struct SslSettings {
  Milliseconds handshake_timeout;
  std::string protocols;  // ssl_alpn, each with its length ahead
};

// The handshake of one session, and its layer afterwards. A context of the session.
class Handshake final : public tls::ServerUser, public SocketHandler {
 public:
  Handshake() : timer_(&Handshake::expired, this) {}

  void begin(Session& session, const std::shared_ptr<const tls::ServerContext>& context) {
    session_ = &session;
    auto layer = std::make_unique<tls::ServerLayer>(context, *this);
    layer_ = layer.get();
    session.client().set_layer(std::move(layer), this);
    timer_.arm(session.worker().loop,
               static_cast<uint64_t>(session.settings<SslSettings>().handshake_timeout.value));
  }
  // True: done, and well. False: it goes on, or the session is over.
  bool step();
  const tls::ServerLayer* layer() const { return layer_; }

  void on_readable() override { go_on(); }
  void on_writable() override { go_on(); }

  std::shared_ptr<const tls::ServerContext> choose(std::string_view name) override {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (!name.empty() && session_->listener().chooses_by_name) session_->choose_server(name);
    return session_->settings<tls::ServerSettings>().context;
  }
  std::string_view alpn_protocols() override { return session_->settings<SslSettings>().protocols; }
  bool load_credentials() override {
    return tls::load_late_credentials(*layer_, session_->settings<tls::ServerSettings>(),
                                      *session_);
  }

 private:
  void go_on() {
    if (session_->finished() || over_) return;
    if (step()) session_->resume();
  }
  static void expired(void* self) {
    auto& handshake = *static_cast<Handshake*>(self);
    if (handshake.session_->finished()) return;
    handshake.session_->log(Severity::info, "client timed out", ETIMEDOUT);
    handshake.session_->finish(500);
  }
  bool accepts_client();

  Session* session_ = nullptr;
  tls::ServerLayer* layer_ = nullptr;
  Timer timer_;
  bool over_ = false;
};

bool Handshake::step() {
  switch (layer_->handshake(session_->client().socket())) {
    case tls::HandshakeState::would_block:
      return false;
    case tls::HandshakeState::failed: {
      const net::LayerFailure* failure = layer_->failure();
      if (failure) session_->log(failure->severity, failure->text, failure->error_number);
      session_->finish(500);
      return false;
    }
    case tls::HandshakeState::done:
      break;
  }
  over_ = true;
  timer_.cancel();
  layer_->handshake_over();
  session_->client().set_handler(session_);
  if (accepts_client()) return true;
  session_->finish(500);
  return false;
}

bool Handshake::accepts_client() {
  const auto verify = session_->settings<tls::ServerSettings>().options.verify;
  if (verify == tls::ClientVerification::off) return true;
  const long result = tls::verification_result(*layer_);
  const bool without_ca = verify == tls::ClientVerification::optional_no_ca;
  if (result != 0 && !(without_ca && tls::is_missing_issuer(result))) {
    session_->log(Severity::info, "client SSL certificate verify error: (" +
                                      std::to_string(result) + ":" +
                                      tls::verification_text(result) + ")");
    tls::forget_session(*layer_);
    return false;
  }
  if (verify == tls::ClientVerification::on && !tls::has_client_certificate(*layer_)) {
    session_->log(Severity::info, "client sent no required SSL certificate");
    tls::forget_session(*layer_);
    return false;
  }
  return true;
}

PhaseResult shake_hands(Session& session) {
  if (!session.listener().ssl) return PhaseResult::next();
  if (!session.client().is_plain()) return PhaseResult::next();  // passed on by another listener
  session.set_activity("SSL handshaking");
  const auto& context = session.settings<tls::ServerSettings>().context;
  if (!context) {
    session.log(Severity::error,
                "no \"ssl_certificate\" is defined in server listening on SSL port");
    return PhaseResult::end(500);
  }
  auto& handshake = session.context<Handshake>();
  handshake.begin(session, context);
  if (handshake.step()) return PhaseResult::pass();
  return PhaseResult::wait();
}

// Also of connections that another listener has passed on; all layers of clients are TLS.
const tls::Layer* layer_of(VariableSource& source) {
  return static_cast<const tls::Layer*>(session_of(source).client().layer());
}

void set_protocols(Compiler& compiler, Scope& scope, const Statement& statement) {
  std::string protocols;
  if (!shared::ssl::read_alpn(compiler, statement, protocols)) return;
  scope.write<SslSettings>().protocols = std::move(protocols);
}

constexpr uint32_t kWhere = kStream | kStreamServer;

constexpr Directive kOwnDirectives[] = {
    {.name = "ssl_handshake_timeout",
     .where = kWhere,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&SslSettings::handshake_timeout>,
     .doc = "Time for a whole handshake."},
    {.name = "ssl_alpn",
     .where = kWhere,
     .args = {1, kNoLimit},
     .set = set_protocols,
     .doc = "Protocols that are spoken inside, in order of preference; others end the handshake."},
};

constexpr auto kDirectives = [] {
  constexpr auto& common = shared::ssl::kDirectives<kWhere>;
  std::array<Directive, std::size(kOwnDirectives) + common.size()> all{};
  size_t count = 0;
  for (const Directive& directive : common) all[count++] = directive;
  for (const Directive& directive : kOwnDirectives) all[count++] = directive;
  return all;
}();

void prepare(Compiler& compiler, Scope&) {
  shared::ssl::define_variables<layer_of>(compiler.variables(), false);
}

void finish(Compiler& compiler, Scope& self, const Scope*) {
  if (self.context() == kStreamServer) shared::ssl::finish_server(compiler, self, "STREAM");
}

void complete(Compiler& compiler, Scope&) {
  Builder& build = builder(compiler);
  build.add_phase_handler(Phase::ssl, shake_hands);
  shared::ssl::check_certificates(compiler, build);
}

}  // namespace

const Module kSslModule{.name = "ngx_stream_ssl_module",
                        .directives = kDirectives,
                        .prepare = prepare,
                        .finish = finish,
                        .complete = complete,
                        .root = kStream,
                        .configure_argument = "--with-stream_ssl_module"};

}  // namespace weir::stream
