#include <sys/socket.h>

#include "engine/http/builder.h"
#include "modules/shared/listen_addresses.h"
#include "modules/stream/core.h"

// listen and server_name: which addresses stream listens on, and which names lead to which server
// there.
namespace weir::stream::core {

namespace {

using ListenState = shared::ListenAddresses<Server>;
using shared::ListenLine;

bool read_parameter(Compiler& compiler, const Statement& statement, const conf::Word& word,
                    ListenLine& line) {
  if (shared::read_listen_flag(word.text, line)) return true;
  if (word.text == "udp") {
    line.options.type = SOCK_DGRAM;
    return true;
  }
  if (shared::is_listen_value(word.text)) {
    return shared::read_listen_value(compiler, statement, word, line);
  }
  compiler.error(statement, "the invalid \"" + std::string(word.text) + "\" parameter", {}, &word);
  return false;
}

// nginx tells one of them, in this order.
bool check_datagram(Compiler& compiler, const Statement& statement, const ListenLine& line) {
  if (line.options.type != SOCK_DGRAM) return true;
  const char* wrong = line.options.fast_open  ? "fastopen"
                      : line.backlog          ? "backlog"
                      : line.options.deferred ? "deferred"
                      : line.ssl              ? "ssl"
                      : line.options.keepalive.mode != net::KeepaliveOption::Mode::system
                          ? "so_keepalive"
                      : line.proxy_protocol ? "proxy_protocol"
                                            : nullptr;
  if (!wrong) return true;
  compiler.error(statement, "\"listen\" directive " + std::string("\"") + wrong + "\"" +
                                " parameter is incompatible with \"udp\"");
  return false;
}

}  // namespace

void read_listen(Compiler& compiler, Scope&, const Statement& statement) {
  auto& state = compiler.state<ListenState>();
  state.server_listens = true;
  const auto url = shared::read_listen_address(compiler, statement, 0);
  if (!url) return;
  ListenLine line;
  for (const conf::Word& word : statement.words.subspan(2)) {
    if (!read_parameter(compiler, statement, word, line)) return;
  }
  if (!check_datagram(compiler, statement, line)) return;
  state.use_all(compiler, statement, line, *url, builder(compiler).current_server);
}

bool take_server_listens(Compiler& compiler) {
  return std::exchange(compiler.state<ListenState>().server_listens, false);
}

void read_server_name(Compiler& compiler, Scope&, const Statement& statement) {
  Server& server = *builder(compiler).current_server;
  compiler.state<ListenState>().names.read(compiler, statement, server);
}

void complete_listeners(Compiler& compiler, uint32_t closing_number) {
  compiler.state<ListenState>().complete<Listener>(
      compiler, closing_number, kStageNames, builder(compiler).graph().listeners,
      compiler.state<http::ResourceList>().resources, false,
      [](Listener& listener, const shared::ListenAddress<Server>&) {
        listener.text = listener.options.address.text();
      });
}

}  // namespace weir::stream::core
