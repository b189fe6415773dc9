#include "engine/http/request.h"

#include <algorithm>
#include <cstring>

#include "confparse/pattern.h"
#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/phase_engine.h"
#include "engine/http/tunnel_handover.h"
#include "engine/http/uri.h"
#include "engine/http/writer.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr int kVariableDepth = 100;  // variables that ask for one another

}  // namespace

Request::Request(Exchange& exchange, Request* parent)
    : exchange_(&exchange),
      worker_(&exchange.worker()),
      graph_(exchange.generation().http.get()),
      arena_(&exchange.arena()),
      main_(parent == nullptr ? this : parent->main_),
      parent_(parent),
      event_(exchange.worker().loop),
      resume_(&PhaseEngine::resume, this) {}

Request::~Request() = default;

std::string_view Request::host() const {
  return received_->host;
}

const ConnectionFacts& Request::connection() const {
  return exchange_->facts();
}

void Request::enter_scope(const conf::Scope& scope) {
  scope_ = &scope;
  exchange_->apply_location();
}

void Request::rewrite_uri(std::string_view uri, bool look_up) {
  current_.uri = uri;
  current_.extension = find_extension(uri);
  current_.internal = true;
  current_.unchanged = false;
  current_.location_valid = false;
  current_.behind_alias = false;
  uri_changed_ = look_up;
}

// --- connection facts

bool Request::client_gone() const {
  return exchange_->has_left();
}
uint64_t Request::number_on_connection() const {
  return exchange_->number();
}
uint64_t Request::bytes_sent() const {
  return exchange_->bytes_sent();
}
uint64_t Request::body_bytes_sent() const {
  return exchange_->body_bytes_sent();
}
void Request::disable_keep_alive() {
  exchange_->disable_keep_alive();
}
bool Request::keep_alive() const {
  return exchange_->keep_alive();
}
uint64_t Request::started_at() const {
  return exchange_->started_at_;
}
int64_t Request::started_wall() const {
  return exchange_->started_wall_;
}

uint64_t Request::request_length() const {
  if (!is_main()) return 0;
  const ClientBody& body = exchange_->body_;
  if (!body.was_asked_for() || body.was_refused()) return received_->bytes;
  if (body.is_discarding()) return std::max<uint64_t>(body.length_at_discard(), received_->bytes);
  if (received_->version == Version::http_2 || body.length().kind != BodyLength::Kind::chunked) {
    return received_->bytes + body.received();
  }
  return std::max<uint64_t>(exchange_->received_, received_->bytes);
}

void Request::set_limit_rate(uint64_t rate) {
  main_->limit_rate_ = rate;
  main_->limit_rate_set_ = true;
}

uint64_t Request::limit_rate() {
  Request& main = *main_;
  if (!main.limit_rate_set_) {
    main.limit_rate_set_ = true;
    const conf::Template& setting = main.settings<CoreSettings>().limit_rate;
    if (!setting.empty()) {
      main.limit_rate_ = conf::parse_size(setting.evaluate(main)).value_or(0);
    }
  }
  return main.limit_rate_;
}

// --- variables

Request::VariableCell* Request::cells() {
  if (cells_ == nullptr) {
    size_t count = graph_->variables.size();
    cells_ = static_cast<VariableCell*>(
        arena_->allocate(count * sizeof(VariableCell), alignof(VariableCell)));
    for (size_t i = 0; i < count; ++i) new (&cells_[i]) VariableCell();
  }
  return cells_;
}

conf::Value Request::variable(conf::VariableId id) {
  VariableCell& cell = main_->cells()[id];
  if (cell.state != VariableCell::State::unknown) return cell.value;
  const conf::Variable& variable = graph_->variables[id];
  if (variable.get == nullptr) return conf::Value::none();
  thread_local int depth = 0;
  if (depth >= kVariableDepth) {
    log(Severity::error, "cycle while evaluating variable \"" + variable.name + "\"");
    return conf::Value::none();
  }
  ++depth;
  conf::Value value = variable.get(*this, variable);
  --depth;
  // The getter may have assigned it (captures of a map).
  if (variable.cacheable && cell.state == VariableCell::State::unknown) {
    cell.value = value;
    cell.state = VariableCell::State::cached;
  }
  return value;
}

void Request::set_variable(conf::VariableId id, conf::Value value) {
  const conf::Variable& variable = graph_->variables[id];
  if (variable.set != nullptr) {
    variable.set(*this, variable, value);
    return;
  }
  main_->cells()[id] = {value, VariableCell::State::assigned};
}

void Request::forget_variable(conf::VariableId id) {
  main_->cells()[id].state = VariableCell::State::unknown;
}

bool Request::match(const conf::Pattern& pattern, std::string_view subject) {
  conf::Regex::Match match = pattern.regex->match(subject);
  if (match.result == conf::Regex::Match::Result::failed) {
    log(Severity::alert, pattern.regex->failure_text(match, subject));
    return false;
  }
  if (!match) return false;
  size_t groups = pattern.regex->group_count() == 0 ? 0 : match.groups();
  if (groups > capture_capacity_) {
    captures_ = static_cast<std::string_view*>(
        arena_->allocate(groups * sizeof(std::string_view), alignof(std::string_view)));
    capture_capacity_ = static_cast<uint16_t>(groups);
  }
  capture_count_ = static_cast<uint16_t>(groups);
  if (groups == 0) return true;
  std::string_view copy = arena_->copy(subject);
  for (size_t i = 0; i < groups; ++i) new (&captures_[i]) std::string_view(match.group(copy, i));
  for (const auto& [group, variable] : pattern.named_captures) {
    main_->cells()[variable] = {conf::Value::of(capture(group)), VariableCell::State::assigned};
  }
  return true;
}

std::string_view Request::capture(size_t number) const {
  return number < capture_count_ ? captures_[number] : std::string_view();
}
size_t Request::capture_count() const {
  return capture_count_;
}

// --- response

bool Request::send_head() {
  if (main_->post_action_) {
    response_.header_only = true;
    last_sent_ = true;
    return false;
  }
  if (response_.head_sent) {
    log(Severity::alert, "header already sent");
    return !response_.header_only;
  }
  if (error_status_ > 0) {
    response_.status = error_status_;
    response_.reason = {};
  }
  if (current_.method == Method::head) response_.header_only = true;
  filters_ran_ = true;
  for (HeadFilter filter : graph_->hooks.head_filters) {
    filter(*this);
    if (replaced_status_ != 0) {
      first_filter_ = last_filter_ = nullptr;
      last_sent_ = true;  // of the handler; the status's own page follows (PhaseEngine::finish)
      return false;
    }
  }
  response_.head_sent = true;
  settle_header_only(response_, exchange_->multiplexed());
  if (is_main()) {
    const MessageHead head = compose_head(*this);
    sends_chunked_ = !response_.header_only && head.body.kind == BodyLength::Kind::chunked &&
                     received_->version >= Version::http_1_1;
    exchange_->send_head(head, response_.header_only);
  }
  if (response_.header_only) last_sent_ = true;
  return !response_.header_only;
}

int Request::logged_status() const {
  if (error_status_ > 0) return error_status_;
  if (response_.status != 0) return response_.status;
  return received_->version == Version::http_0_9 ? 9 : 0;
}

void Request::send_interim(int status, const HeaderList& headers) {
  if (!is_main() || response_.head_sent || received_->version < Version::http_1_1) return;
  MessageHead head;
  head.status = status;
  head.headers = headers;
  exchange_->send_interim(head);
}

PhaseResult Request::respond(int status, std::string_view content_type, std::string_view body) {
  if (is_main()) {
    exchange_->body_.discard();
    // What has come of it is broken already.
    const int error = exchange_->body_.error();
    if (error != 0 && status < 400) return PhaseResult::status(error);
  }
  response_.status = status;
  response_.content_type = content_type;
  response_.content_length = static_cast<int64_t>(body.size());
  if (send_head()) {
    Chain data;
    data.push(Slice::borrowed(body));
    send(std::move(data), true);
  }
  return PhaseResult::done();
}

PhaseResult Request::redirect_client(int status, std::string_view location) {
  // An empty target is a field without a value, not no field.
  response_.location = location.empty() ? std::string_view("") : location;
  return PhaseResult::status(status);
}

bool Request::is_bridged() const {
  return exchange_->is_bridged();
}

bool Request::accepts_upgrade(const HeaderList& answer) const {
  return exchange_->accepts_upgrade(answer);
}

std::unique_ptr<TunnelHandover> Request::begin_tunnel() {
  auto handover = std::make_unique<TunnelHandover>();
  if (!exchange_->begin_tunnel(*handover)) return nullptr;
  return handover;
}

void Request::withhold_response() {
  if (is_main()) exchange_->withhold_response();
}

void Request::drop_contexts() {
  for (ContextNode** at = &contexts_; *at != nullptr;) {
    if ((*at)->lasting) {
      at = &(*at)->next;
    } else {
      *at = (*at)->next;
    }
  }
}

const net::Address& Request::client() const {
  return main_->client_ != nullptr ? *main_->client_ : connection().peer;
}

void Request::set_client(const net::Address& address) {
  main_->client_ = arena_->make<net::Address>(address);
}

// --- log

bool Request::logs(Severity severity) const {
  return ErrorLog::wants(error_log_targets(), severity);
}

const ErrorLogTargets& Request::error_log_targets() const {
  const auto& targets = settings<CoreSettings>().error_log;
  return targets ? *targets : *graph_->error_log;
}

void Request::log(Severity severity, std::string_view text, int error_number) {
  if (!logs(severity)) return;
  std::string context;
  if (*main_->activity_ != 0) context.append(" while ").append(main_->activity_);
  context += log_context();
  worker_->error_log.write(error_log_targets(), severity, connection().serial, text, error_number,
                           context);
}

std::string Request::log_context() const {
  std::string line;
  auto add = [&line](const char* name, std::string_view value) {
    line.append(", ").append(name).append(value);
  };
  auto add_quoted = [&line](const char* name, std::string_view value) {
    line.append(", ").append(name).append(": \"").append(value).append("\"");
  };
  add("client: ", client().host_text());
  add("server: ", server_ == nullptr || server_->names.empty() ? "" : server_->names[0]);
  if (!received_->request_line.empty()) {
    add_quoted("request", received_->request_line);
  }
  if (!is_main()) add_quoted("subrequest", current_.uri);
  if (!log_upstream.empty()) add_quoted("upstream", log_upstream);
  const Header* host = received_->headers.find(HeaderId::host);
  if (host != nullptr) add_quoted("host", host->value);
  const Header* referer = received_->headers.find(HeaderId::referer);
  if (referer != nullptr) add_quoted("referrer", referer->value);
  return line;
}

}  // namespace weir::http
