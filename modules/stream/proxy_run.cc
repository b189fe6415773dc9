#include "modules/stream/proxy_run.h"

#include <cerrno>

#include "confparse/address.h"
#include "confparse/value.h"
#include "confparse/worlds.h"
#include "engine/event/loop.h"
#include "engine/net/proxy_protocol.h"

namespace weir::stream::proxy {

Severity connect_severity(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ECONNRESET:
    case ETIMEDOUT:
      return Severity::error;
    default:
      return Severity::crit;
  }
}

// A name that is asked for.
struct ProxyRun::Resolving {
  explicit Resolving(Loop& loop) : event(loop), question(event) {}
  Event event;
  upstream::Resolver::Question question;
  Task<void> task;
};

ProxyRun::ProxyRun(Session& session)
    : session_(session),
      worker_(session.worker()),
      settings_(session.settings<ProxySettings>()),
      record_(session.context<UpstreamRecord>()),
      started_(worker_.loop.now()) {}

ProxyRun::~ProxyRun() {
  if (selection_) {
    note_times();
    selection_->finish(upstream::Selection::Result::ok);
  }
  if (counted_) --worker_.connections;
}

// For balancers that choose by time.
void ProxyRun::note_times() {
  if (record_.attempts.empty()) return;
  const int64_t first = by_connect_time_ ? attempt().connect_time : attempt().first_byte_time;
  if (first < 0) return;
  selection_->note_times(static_cast<uint64_t>(first), attempt_age());
}

void ProxyRun::begin() {
  const auto* pass = session_.own_settings<ProxyPass>();
  if (!pass) return session_.finish(500);
  if (!pass->target.is_literal()) return aim_at_variable(pass->target.evaluate(session_));
  cluster_ = pass->cluster;
  select();
}

// --- where to

void ProxyRun::aim_at_variable(std::string_view text) {
  // Literal addresses need no world, and names are left alone (no_resolve).
  static thread_local conf::VirtualWorld nowhere;
  const conf::Url url = conf::parse_url(nowhere, text, {.default_port = 0, .no_resolve = true});
  if (!url.ok()) {
    session_.log(Severity::error, url.problem + " in upstream \"" + url.text + "\"");
    return session_.finish(500);
  }
  const bool is_unix = url.kind == conf::Url::Kind::unix_socket;
  const std::string host = is_unix ? "unix:" + url.host : url.host;
  for (const auto& known : session_.graph().clusters) {
    const bool same_port = known->default_port == 0 ? url.no_port : known->default_port == url.port;
    if (!same_port || !conf::equal_without_case(known->host, host)) continue;
    cluster_ = known.get();
    return select();
  }
  if (!is_unix && url.port == 0) {
    session_.log(Severity::error, "no port in upstream \"" + host + "\"");
    return session_.finish(500);
  }
  if (!url.addresses.empty()) {
    std::vector<net::Address> addresses;
    addresses.push_back(net::Address::from_bytes(url.addresses[0].bytes));
    return use_addresses(host, url.port, std::move(addresses));
  }
  const auto& core = session_.settings<CoreSettings>();
  if (core.resolver.empty()) {
    session_.log(Severity::error, "no resolver defined to resolve " + host);
    return session_.finish(500);
  }
  resolving_ = std::make_unique<Resolving>(worker_.loop);
  resolving_->task = resolve(host, url.port);
  resolving_->task.start();
}

void ProxyRun::use_addresses(std::string_view host, uint16_t port,
                             std::vector<net::Address> addresses) {
  resolved_ = std::make_unique<upstream::Cluster>();
  resolved_->host = host;
  resolved_->name = resolved_->host + ":" + std::to_string(port);
  resolved_->implied = true;
  resolved_->is_stream = true;
  upstream::Server server;
  server.name = resolved_->host;
  server.addresses = std::move(addresses);
  resolved_->servers.push_back(std::move(server));
  cluster_ = resolved_.get();
  select();
}

Task<void> ProxyRun::resolve(std::string host, uint16_t port) {
  const auto& core = session_.settings<CoreSettings>();
  auto& question = resolving_->question;
  worker_.upstreams.resolver(core.resolver).ask(question, host);
  const uint64_t end = worker_.loop.now() + static_cast<uint64_t>(core.resolver_timeout.value);
  int error = 0;
  while (!question.done()) {
    const uint64_t now = worker_.loop.now();
    if (now >= end) {
      error = upstream::Resolver::kTimedOut;
      break;
    }
    const Wait waited = co_await resolving_->event.wait(end - now);
    if (waited == Wait::cancelled) co_return;
  }
  if (session_.finished()) co_return;
  if (!error) error = question.answer().error;
  if (error) {
    session_.log(Severity::error, host + " could not be resolved (" + std::to_string(error) + ": " +
                                      upstream::Resolver::error_text(error) + ")");
    session_.finish(500);
    co_return;
  }
  std::vector<net::Address> addresses = question.answer().addresses;
  for (net::Address& address : addresses) address.set_port(port);
  use_addresses(host, port, std::move(addresses));
}

// --- one peer after another

void ProxyRun::select() {
  if (!cluster_) return session_.finish(500);
  upstream::Subject subject;
  subject.variables = &session_;
  subject.client = &session_.peer();
  selection_ = resolved_ ? worker_.upstreams.select_once(*cluster_)
                         : worker_.upstreams.select(*cluster_, subject);
  const int64_t tries = settings_.next_upstream_tries.value;
  if (tries > 0) selection_->limit_tries(static_cast<uint32_t>(tries));
  by_connect_time_ = cluster_->balancing.connect;
  next();
}

void ProxyRun::next() {
  session_.set_activity("connecting to upstream");
  const upstream::Selection::Peer* peer = selection_->next();
  attempt_started_ = worker_.loop.now();
  record_.attempts.emplace_back();
  attempt().peer = peer ? peer->text : cluster_->name;
  if (!peer) {
    attempt().session_time = 0;
    session_.log(Severity::error, "no live upstreams");
    return session_.finish(502);
  }
  if (!counted_) {
    if (!worker_.has_room()) {
      session_.log(Severity::alert,
                   std::to_string(worker_.connection_limit) + " worker_connections are not enough");
      return session_.finish(500);
    }
    ++worker_.connections;
    counted_ = true;
  }
  ++worker_.next_connection_serial;
  open(peer->address);
}

void ProxyRun::attempt_failed() {
  attempt().bytes_sent = upstream_sent();
  attempt().session_time = static_cast<int64_t>(attempt_age());
  if (selection_->finish(upstream::Selection::Result::failed)) {
    session_.log(Severity::warn, "upstream server temporarily disabled");
  }
  const auto limit = static_cast<uint64_t>(settings_.next_upstream_timeout.value);
  const bool late = limit && worker_.loop.now() - started_ >= limit;
  if (!settings_.next_upstream || late || selection_->tries_left() == 0) {
    return session_.finish(502);
  }
  const upstream::Selection::Retry answer = selection_->take_retry();
  if (answer != upstream::Selection::Retry::granted) {
    record_.retry_refused = true;
    if (answer == upstream::Selection::Retry::refused_first) {
      session_.log(Severity::warn, "upstream retry budget is exhausted");
    }
    return session_.finish(502);
  }
  next();
}

void ProxyRun::peer_failed() {
  if (!selection_->finish(upstream::Selection::Result::failed)) return;
  session_.set_activity("proxying connection");
  session_.log(Severity::warn, "upstream server temporarily disabled");
}

void ProxyRun::connected() {
  attempt().connect_time = static_cast<int64_t>(attempt_age());
  session_.set_activity("proxying connection");
  if (resolving_ && resolving_->task.finished()) resolving_.reset();
  if (!session_.wants_log(Severity::info)) return;
  const std::string local = net::Address::local_of(descriptor()).text();
  session_.log_plain(Severity::info, (session_.is_datagram() ? "udp proxy " : "proxy ") + local +
                                         " connected to " + attempt().peer);
}

net::ConnectOptions ProxyRun::connect_options() {
  net::ConnectOptions options;
  options.keepalive = settings_.socket_keepalive;
  if (settings_.socket_rcvbuf)
    options.receive_buffer = static_cast<int>(settings_.socket_rcvbuf->value);
  if (settings_.socket_sndbuf)
    options.send_buffer = static_cast<int>(settings_.socket_sndbuf->value);
  const std::string_view wrong = net::apply_bind(settings_.bind, session_, options);
  if (!wrong.empty() && !wrong.starts_with("unix:")) {
    session_.log(Severity::error, "invalid local address \"" + std::string(wrong) + "\"");
  }
  return options;
}

std::string ProxyRun::proxy_header() {
  switch (settings_.protocol) {
    case Protocol::off:
      return {};
    case Protocol::on:
      return net::write_proxy_header_v1(session_.peer(), session_.local());
    case Protocol::v2:
      return net::write_proxy_header_v2(session_.peer(), session_.local());
  }
  return {};
}

uint64_t ProxyRun::rate(const conf::Template& setting) {
  if (setting.empty()) return 0;
  const std::string_view text = setting.evaluate(session_);
  const auto size = conf::parse_size(text);
  if (!size) session_.log(Severity::error, "invalid size \"" + std::string(text) + "\"");
  return size.value_or(0);
}

// --- facts

void ProxyRun::update() {
  if (record_.attempts.empty()) return;
  attempt().bytes_sent = upstream_sent();
  attempt().bytes_received = upstream_received();
  if (session_.finished() && attempt().connect_time >= 0 && attempt().session_time < 0) {
    attempt().session_time = static_cast<int64_t>(attempt_age());
  }
}

void ProxyRun::append_context(std::string& line) {
  update();
  if (!record_.attempts.empty()) line += ", upstream: \"" + attempt().peer + "\"";
  line += ", bytes from/to client:" + std::to_string(session_.received) + "/" +
          std::to_string(session_.sent) +
          ", bytes from/to upstream:" + std::to_string(upstream_received()) + "/" +
          std::to_string(upstream_sent());
}

PhaseResult handle(Session& session) {
  if (session.is_datagram()) {
    start_datagrams(session);
  } else {
    start_connection(session);
  }
  return PhaseResult::wait();
}

}  // namespace weir::stream::proxy
