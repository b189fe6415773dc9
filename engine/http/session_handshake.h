#pragma once

#include <memory>
#include <string_view>

#include "engine/generation.h"
#include "engine/http/graph.h"
#include "engine/tls/layer.h"

namespace weir::http {

class Session;

// Chooses the server while a client shakes hands; lives as long as the handshake, and keeps the
// generation that it began with.
class SessionHandshake final : public tls::ServerUser {
 public:
  SessionHandshake(Session& session, Ref<Generation> generation, const Listener& listener)
      : session_(session),
        generation_(std::move(generation)),
        listener_(listener),
        server_(listener.default_server) {}

  std::shared_ptr<const tls::ServerContext> choose(std::string_view server_name) override;
  std::string_view alpn_protocols() override;
  bool load_credentials() override;

 private:
  Session& session_;
  Ref<Generation> generation_;
  const Listener& listener_;
  const VirtualServer* server_;
};

}  // namespace weir::http
