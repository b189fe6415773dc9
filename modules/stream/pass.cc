#include "confparse/address.h"
#include "confparse/worlds.h"
#include "engine/net/passed_connection.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "engine/worker.h"
#include "modules/stream/modules.h"

// ngx_stream_pass_module: pass, which gives a client connection to another listening socket.
namespace weir::stream {

namespace {

using namespace conf;

constexpr uint32_t kMostPasses = 10;

struct PassSettings {
  static constexpr bool kSeenByIf = false;
  Template target;  // when it has variables
  net::Address address;
};

// None after saying why.
net::Address evaluate(Session& session, const Template& target) {
  static thread_local VirtualWorld nowhere;  // literal addresses need no world
  const std::string_view text = target.evaluate(session);
  const Url url = parse_url(nowhere, text, {.default_port = 0, .no_resolve = true});
  if (!url.ok()) {
    session.log(Severity::error, url.problem + " in pass \"" + url.text + "\"");
    return {};
  }
  if (url.addresses.empty()) {
    session.log(Severity::error, "no addresses found in pass \"" + url.text + "\"");
    return {};
  }
  if (url.no_port && url.kind != Url::Kind::unix_socket) {
    session.log(Severity::error, "no port in pass \"" + url.text + "\"");
    return {};
  }
  return net::Address::from_bytes(url.addresses[0].bytes);
}

PhaseResult handle(Session& session) {
  const auto* settings = session.own_settings<PassSettings>();
  if (!settings) return PhaseResult::end(500);
  session.set_activity("passing connection to another listener");
  if (session.is_datagram()) {
    session.log(Severity::error, "cannot pass UDP connection");
    return PhaseResult::end(500);
  }
  net::Address address = settings->address;
  if (!settings->target.empty()) address = evaluate(session, settings->target);
  if (address.empty()) return PhaseResult::end(500);
  if (session.passes() >= kMostPasses) {
    session.log(Severity::error, "stream pass cycle");
    return PhaseResult::end(500);
  }
  Worker& worker = session.worker();
  const bool found = worker.pass_connection &&
                     worker.pass_connection(address, [&] { return session.hand_over(); });
  if (!found) {
    session.log(Severity::error, "port not found for \"" + address.text() + "\"");
    return PhaseResult::end(500);
  }
  return PhaseResult::end(200);
}

void set_pass(Compiler& compiler, Scope& scope, const Statement& at) {
  PassSettings settings;
  Server& server = *builder(compiler).current_server;
  const Template target = compiler.make_template(at, at.words[1]);
  server.content = handle;
  if (!target.is_literal()) {
    settings.target = target;
    scope.write_own<PassSettings>() = std::move(settings);
    return;
  }
  const Url url = parse_url(compiler.world(), at.argument(0), {.default_port = 0});
  std::string problem = url.problem;
  if (url.ok() && url.no_port && url.kind != Url::Kind::unix_socket) problem = "no port";
  if (!problem.empty()) {
    return compiler.error(at, problem + " in \"" + url.text + "\" of the \"pass\" directive", {},
                          &at.words[1]);
  }
  settings.address = net::Address::from_bytes(url.addresses[0].bytes);
  scope.write_own<PassSettings>() = std::move(settings);
}

constexpr Directive kDirectives[] = {
    {.name = "pass",
     .where = kStreamServer,
     .args = {1, 1},
     .merge = Merge::own,
     .set = set_pass,
     .doc = "The listening socket that connections are passed to."},
};

}  // namespace

const Module kPassModule{
    .name = "ngx_stream_pass_module",
    .directives = kDirectives,
    .root = kStream,
};

}  // namespace weir::stream
