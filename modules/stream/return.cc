#include <memory>
#include <optional>

#include "confparse/setters.h"
#include "engine/net/socket_options.h"
#include "engine/stream/builder.h"
#include "engine/stream/session.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_return_module: return.
namespace weir::stream {

namespace {

using namespace conf;

struct ReturnSettings {
  static constexpr bool kSeenByIf = false;
  Template text;
};

// Sends a text and ends the session.
class Returned final : public Content, public SocketHandler {
 public:
  Returned(Session& session, std::string_view text) : session_(session) {
    pending_.push(Slice::copy_of(text));
  }
  void start() {
    session_.client().set_handler(this);
    session_.set_activity("returning text");
    session_.discard_preread();
    flush();
  }
  void on_readable() override {}
  void on_writable() override { flush(); }

 private:
  void flush() {
    if (session_.finished()) return;
    if (const std::optional<int> error = send()) over(*error);
  }
  // Nothing: the rest waits. Else 0, or what went wrong.
  std::optional<int> send() {
    const net::WriteResult result = session_.client().write(pending_);
    session_.sent += result.bytes;
    if (result.state == net::WriteResult::State::would_block) return {};
    return result.state == net::WriteResult::State::failed ? result.error : 0;
  }
  void over(int error) {
    if (error != 0) session_.log(Severity::info, write_failure(session_.client()), error);
    session_.finish(200);
  }

  Session& session_;
  Chain pending_;
};

PhaseResult handle(Session& session) {
  const auto* settings = session.own_settings<ReturnSettings>();
  if (!settings) return PhaseResult::end(500);
  const std::string_view text = settings->text.evaluate(session);
  if (text.empty()) return PhaseResult::end(200);
  if (session.is_datagram()) {
    session.datagram_client().send(text.data(), text.size());
    session.sent += text.size();
    return PhaseResult::end(200);
  }
  auto content = std::make_unique<Returned>(session, text);
  Returned& returned = *content;
  session.set_content(std::move(content));
  returned.start();
  return PhaseResult::wait();
}

void read_return(Compiler& compiler, Scope& scope, const Statement& statement) {
  scope.write_own<ReturnSettings>().text = compiler.make_template(statement, statement.words[1]);
  builder(compiler).current_server->content = handle;
}

constexpr Directive kDirectives[] = {
    {.name = "return",
     .where = kStreamServer,
     .args = {1, 1},
     .merge = Merge::own,
     .set = read_return,
     .doc = "Sends this text and closes."},
};

}  // namespace

const conf::Module kReturnModule{
    .name = "ngx_stream_return_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
