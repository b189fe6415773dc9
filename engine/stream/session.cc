#include "engine/stream/session.h"

#include <cerrno>
#include <utility>

#include "engine/event/loop.h"
#include "engine/stream/sessions.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"

namespace weir::stream {
namespace {

const net::Address& local_of(void* session) {
  return static_cast<Session*>(session)->local();
}

}  // namespace

Session::Session(Sessions& sessions, const net::Address& peer, size_t resource)
    : sessions_(sessions),
      worker_(sessions.worker()),
      generation_(worker_.generation),
      serial_(worker_.next_connection_serial++),
      started_at_(worker_.loop.now()),
      started_wall_(worker_.loop.wall_milliseconds()),
      peer_(peer),
      timer_(&Session::timer_fired, this),
      end_(&Session::end, this),
      resource_(resource) {
  sessions_.add(*this);
}

Session::~Session() {
  content_.reset();
  memory_.reset();  // contexts, while the session is whole
  sessions_.remove(*this);
  if (datagram_) datagram_->session_gone();
}

const net::Address& Session::local() {
  if (local_.empty() && stream_.is_open()) local_ = net::Address::local_of(stream_.descriptor());
  return local_;
}

bool Session::find_listener() {
  if (!generation_->stream) return false;
  listener_ = graph().find_listener(resource_, &local_of, this);
  if (!listener_) return false;
  server_ = listener_->default_server;
  return true;
}

bool Session::start(int descriptor) {
  if (!stream_.open(worker_.loop, descriptor, this)) return false;
  if (!find_listener()) return false;
  begin();
  return true;
}

bool Session::start_passed(net::PassedConnection& connection) {
  passes_ = static_cast<uint8_t>(connection.passes);
  if (!stream_.open(worker_.loop, connection.descriptor, this)) return false;
  if (connection.layer) {
    // Layers of clients are TLS.
    static_cast<tls::Layer&>(*connection.layer).move_to(stream_.socket());
    stream_.set_layer(std::move(connection.layer), this);
  }
  if (!find_listener()) return false;
  begin();
  if (!finished_ && stream_.is_open()) stream_.read_later();
  return true;
}

net::PassedConnection Session::hand_over() {
  net::PassedConnection connection;
  connection.layer = stream_.release_layer();
  connection.descriptor = stream_.release_descriptor();
  connection.peer = peer_;
  connection.passes = passes_ + 1u;
  return connection;
}

bool Session::start_datagram(DatagramClient& client, const net::Address& local) {
  datagram_ = &client;
  local_ = local;
  received = client.first_datagram().size();
  if (!find_listener()) return false;
  begin();
  return true;
}

void Session::deliver(std::string_view datagram) {
  received += datagram.size();  // first, for the lines that it leads to
  if (!content_ || !content_->on_datagram(datagram)) received -= datagram.size();
}

void Session::choose_server(std::string_view name) {
  if (const Server* found = listener_->names.find(name, this)) server_ = found;
}

void Session::begin() {
  if (wants_log(Severity::info)) {
    log_plain(Severity::info, (is_datagram() ? "udp client " : "client ") + peer_.text() +
                                  " connected to " + listener_->text);
  }
  if (!listener_->proxy_protocol) {
    activity_ = "initializing session";
    return run_phases();
  }
  activity_ = "reading PROXY protocol";
  state_ = State::proxy_header;
  timer_.arm(worker_.loop,
             static_cast<uint64_t>(settings<CoreSettings>().proxy_protocol_timeout.value));
}

// --- phases

void Session::run_phases() {
  state_ = State::phases;
  while (phase_ != Phase::content) {
    if (!run_handlers()) return;
    handler_ = 0;
    phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
  }
  preread_ = {};
  timer_.cancel();
  activity_ = nullptr;
  state_ = State::content;
  if (!server_->content) return finish(500);
  const PhaseResult result = server_->content(*this);
  if (result.kind == PhaseResult::Kind::end) finish(result.status);
}

bool Session::run_handlers() {
  const auto& handlers = graph().hooks.phases[static_cast<size_t>(phase_)];
  while (handler_ < handlers.size()) {
    const PhaseResult result = handlers[handler_](*this);
    if (finished_) return false;
    switch (result.kind) {
      case PhaseResult::Kind::next:
        ++handler_;
        continue;
      case PhaseResult::Kind::pass:
        return true;
      case PhaseResult::Kind::end:
        finish(result.status);
        return false;
      case PhaseResult::Kind::wait:
        break;
    }
    if (phase_ != Phase::preread || is_datagram()) return false;
    bool grown = false;
    if (!preread_more(grown)) return false;
    if (!grown) return false;
  }
  return true;
}

void Session::resume() {
  if (finished_) return;
  handler_ = 0;
  phase_ = static_cast<Phase>(static_cast<uint8_t>(phase_) + 1);
  run_phases();
}

void Session::on_readable() {
  if (finished_) return;
  if (state_ == State::proxy_header) return read_proxy_header();
  if (state_ != State::prereading) return;  // read when it is wanted
  bool grown = false;
  if (!preread_more(grown) || !grown) return;
  run_phases();
}

void Session::timer_fired(void* self) {
  auto& session = *static_cast<Session*>(self);
  if (session.state_ == State::proxy_header) {
    session.log(Severity::info, "client timed out", ETIMEDOUT);
  }
  session.finish(200);
}

// --- the end

void Session::finish(int status) {
  if (finished_) return;
  finished_ = true;
  status_ = status;
  timer_.cancel();
  detach();
  end_.schedule(worker_.loop);
}

void Session::detach() {
  if (!datagram_ || detached_) return;
  detached_ = true;
  datagram_->detach();
}

void Session::end(void* self) {
  auto* session = static_cast<Session*>(self);
  if (session->remains_) {
    for (const auto& line : session->remains_->lines) line->finish(*session);
  } else {
    for (const auto handler : session->graph().hooks.log_handlers) handler(*session);
  }
  if (!session->content_ && !session->datagram_ && session->status_ == 200) {
    session->discard_preread();
  }
  // The farewell of TLS, as far as it goes at once.
  if (session->content_ && !session->stream_.is_plain()) (void)session->stream_.shutdown();
  delete session;
}

// --- letting go of the configuration

void Session::relaying() {
  if (generation_.get() != worker_.generation.get()) let_go();
}

void Session::let_go() {
  if (remains_ || finished_ || !content_ || !content_->only_relays()) return;
  const Hooks& hooks = graph().hooks;
  if (hooks.sessions_keep_generation) return;
  auto remains = std::make_unique<Remains>();
  for (const auto handler : hooks.late_log_handlers) {
    if (auto line = handler(*this)) remains->lines.push_back(std::move(line));
  }
  const auto& own = settings<CoreSettings>().error_log;
  remains->error_log = own ? own : graph().error_log;
  remains->listener_text = listener_->text;
  remains->log_use = generation_->log_use;
  remains_ = std::move(remains);
  cells_ = nullptr;
  listener_ = nullptr;
  server_ = nullptr;
  generation_ = {};
}

// --- logging

const ErrorLogTargets& Session::error_log() const {
  if (remains_) return *remains_->error_log;
  const auto& own = settings<CoreSettings>().error_log;
  return own ? *own : *graph().error_log;
}

bool Session::wants_log(Severity severity) const {
  return ErrorLog::wants(error_log(), severity);
}

void Session::log_plain(Severity severity, std::string_view text) {
  worker_.error_log.write(error_log(), severity, serial_, text);
}

void Session::log(Severity severity, std::string_view text, int error_number) {
  if ((!server_ && !remains_) || !wants_log(severity)) return;
  std::string line(text);
  if (error_number) line += error_number_text(error_number);
  if (activity_) {
    line += " while ";
    line += activity_;
  }
  line += is_datagram() ? ", udp client: " : ", client: ";
  line += peer_.host_text();
  line += ", server: ";
  line += remains_ ? remains_->listener_text : listener_->text;
  if (content_) content_->append_context(line);
  log_plain(severity, line);
}

}  // namespace weir::stream
