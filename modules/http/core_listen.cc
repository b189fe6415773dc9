#include <netinet/in.h>
#include <sys/socket.h>

#include "modules/http/core.h"
#include "modules/shared/listen_addresses.h"

// listen and server_name: which addresses http listens on, and which names lead to which server
// there.
namespace weir::http::core {

namespace {

using ListenState = shared::ListenAddresses<VirtualServer>;
using shared::ListenLine;

bool read_parameter(Compiler& compiler, const Statement& statement, const conf::Word& word,
                    ListenLine& line) {
  if (shared::read_listen_flag(word.text, line)) return true;
  if (word.text == "default") {
    line.default_server = true;
  } else if (word.text == "http2") {
    compiler.warn(statement,
                  "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive "
                  "instead",
                  "write `http2 on;` in the server", &word);
    line.http2 = true;
  } else if (word.text == "quic") {
    compiler.error(statement, "the \"quic\" parameter requires ngx_http_v3_module", {}, &word);
    return false;
  } else if (word.text.find('=') != std::string_view::npos) {
    return shared::read_listen_value(compiler, statement, word, line);
  } else {
    compiler.invalid_parameter(statement, word);
    return false;
  }
  return true;
}

}  // namespace

void read_listen(Compiler& compiler, Scope&, const Statement& statement) {
  auto& state = compiler.state<ListenState>();
  state.server_listens = true;
  const auto url = shared::read_listen_address(compiler, statement, 80);
  if (!url) return;
  ListenLine line;
  for (const conf::Word& word : statement.words.subspan(2)) {
    if (!read_parameter(compiler, statement, word, line)) return;
  }
  state.use_all(compiler, statement, line, *url, builder(compiler).current_server);
}

void finish_server_addresses(Compiler& compiler, const Statement& server) {
  auto& state = compiler.state<ListenState>();
  state.names.begins(*builder(compiler).current_server, server.words[0].span);
  if (!state.server_listens) {
    // nginx listens on port 8000 when it may not bind to 80.
    const uint16_t port = compiler.world().privileged().value ? 80 : 8000;
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(port);
    ListenLine line;
    line.options.address = net::Address(reinterpret_cast<sockaddr*>(&any), sizeof any);
    state.use(compiler, server, line, builder(compiler).current_server);
  }
  state.server_listens = false;
}

void read_server_name(Compiler& compiler, Scope&, const Statement& statement) {
  VirtualServer& server = *builder(compiler).current_server;
  compiler.state<ListenState>().names.read(compiler, statement, server);
}

void complete_listeners(Compiler& compiler, uint32_t closing_number) {
  compiler.state<ListenState>().complete<Listener>(
      compiler, closing_number, kStageNames, builder(compiler).graph().listeners,
      compiler.state<ResourceList>().resources, true,
      [](Listener& listener, const shared::ListenAddress<VirtualServer>& address) {
        listener.http2 = address.http2;
      });
}

}  // namespace weir::http::core
