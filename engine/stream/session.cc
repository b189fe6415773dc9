#include "engine/stream/session.h"

#include <cerrno>
#include <new>
#include <utility>

#include "engine/event/loop.h"
#include "engine/stream/sessions.h"
#include "engine/tls/layer.h"
#include "engine/worker.h"

namespace weir::stream {
namespace {

constexpr int kVariableDepth = 100;  // variables that ask for one another

uint64_t milliseconds(const conf::Milliseconds& value) {
  return static_cast<uint64_t>(value.value);
}

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
  timer_.arm(worker_.loop, milliseconds(settings<CoreSettings>().proxy_protocol_timeout));
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

// --- looking ahead

std::string_view Session::preread() const {
  if (datagram_) return datagram_->first_datagram();
  return preread_ ? std::string_view(preread_->data(), preread_size_) : std::string_view();
}

bool Session::peek(size_t limit) {
  if (!preread_) preread_ = Block::take(limit);
  const Transfer seen = stream_.peek(preread_->data(), limit);
  switch (seen.state) {
    case Transfer::State::would_block:
      return false;
    case Transfer::State::failed:
      log(Severity::info, "recv() failed", seen.error);
      finish(200);
      return false;
    case Transfer::State::end:
      finish(state_ == State::proxy_header ? 400 : 200);
      return false;
    case Transfer::State::done:
      break;
  }
  preread_size_ = static_cast<uint32_t>(seen.bytes);
  return true;
}

void Session::discard_preread() {
  char room[1024];
  for (size_t left = std::exchange(preread_size_, 0); left > 0 && stream_.is_open();) {
    const Transfer moved = stream_.read(room, std::min(left, sizeof room));
    if (moved.state != Transfer::State::done) return;
    left -= moved.bytes;
  }
}

bool Session::preread_more(bool& grown) {
  const auto& core = settings<CoreSettings>();
  const size_t limit = std::max<size_t>(core.preread_buffer_size.value, 1);
  if (state_ != State::prereading) {
    state_ = State::prereading;
    activity_ = "prereading client data";
    timer_.arm(worker_.loop, milliseconds(core.preread_timeout));
  }
  if (preread_size_ >= limit) {
    log(Severity::error, "preread buffer full");
    finish(400);
    return false;
  }
  const uint32_t before = preread_size_;
  if (!peek(limit)) return !finished_;
  grown = preread_size_ > before;
  if (!grown && stream_.socket().peer_closed()) {
    finish(200);
    return false;
  }
  return true;
}

void Session::read_proxy_header() {
  if (!peek(net::ProxyProtocolReader::kLimit)) {
    if (finished_ && status_ == 400) {
      log(Severity::error, "broken header: \"\"");
    }
    return;
  }
  net::ProxyProtocolReader reader;
  const auto result = reader.read(preread());
  if (result.state == net::ProxyProtocolReader::State::need_more) {
    if (!stream_.socket().peer_closed()) return;
    log(Severity::error, "broken header: \"" + std::string(preread()) + "\"");
    return finish(400);
  }
  if (result.state == net::ProxyProtocolReader::State::failed) {
    log(Severity::error, reader.error());
    return finish(400);
  }
  char* to = preread_->data();
  for (size_t left = result.consumed; left > 0;) {
    const Transfer moved = stream_.read(to, left);
    if (moved.state != Transfer::State::done) return finish(400);
    left -= moved.bytes;
  }
  proxy_header_ = std::make_unique<net::ProxyHeader>(std::move(reader.header()));
  preread_ = {};
  preread_size_ = 0;
  timer_.cancel();
  activity_ = "initializing session";
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

// --- variables

Session::Cell* Session::find_cell(conf::VariableId id) {
  for (Cell* cell = cells_; cell; cell = cell->next) {
    if (cell->id == id) return cell;
  }
  return nullptr;
}

conf::Value Session::variable(conf::VariableId id) {
  if (const Cell* cell = find_cell(id)) return cell->value;
  const conf::Variable& variable = graph().variables[id];
  if (!variable.get) return conf::Value::none();
  thread_local int depth = 0;
  if (depth >= kVariableDepth) {
    log(Severity::error, "cycle while evaluating variable \"" + variable.name + "\"");
    return conf::Value::none();
  }
  ++depth;
  const conf::Value value = variable.get(*this, variable);
  --depth;
  if (!variable.cacheable) return value;
  // The getter may have assigned it (captures of a map).
  if (const Cell* cell = find_cell(id)) return cell->value;
  set_cell(id, value);
  return value;
}

void Session::set_cell(conf::VariableId id, conf::Value value) {
  if (Cell* cell = find_cell(id)) {
    cell->value = value;
    return;
  }
  cells_ = new (memory_.allocate(sizeof(Cell), alignof(Cell))) Cell{id, value, cells_};
}

void Session::set_variable(conf::VariableId id, conf::Value value) {
  const conf::Variable& variable = graph().variables[id];
  if (variable.set) {
    variable.set(*this, variable, value);
  } else {
    set_cell(id, value);
  }
}

bool Session::match(const conf::Pattern& pattern, std::string_view subject) {
  const conf::Regex::Match match = pattern.regex->match(subject);
  if (match.result == conf::Regex::Match::Result::failed) {
    log(Severity::alert, pattern.regex->failure_text(match, subject));
    return false;
  }
  if (!match) return false;
  const size_t groups = pattern.regex->group_count() == 0 ? 0 : match.groups();
  if (groups > capture_capacity_) {
    captures_ = reinterpret_cast<std::string_view*>(
        memory_.allocate(groups * sizeof(std::string_view), alignof(std::string_view)));
    capture_capacity_ = static_cast<uint16_t>(groups);
  }
  capture_count_ = static_cast<uint16_t>(groups);
  if (groups == 0) return true;
  const std::string_view text = copy(subject);
  for (size_t i = 0; i < groups; ++i) new (&captures_[i]) std::string_view(match.group(text, i));
  for (const auto& [group, variable] : pattern.named_captures) {
    set_cell(variable, conf::Value::of(capture(group)));
  }
  return true;
}

}  // namespace weir::stream
