#pragma once

#include <memory>
#include <string_view>

#include "engine/generation.h"
#include "engine/http/graph.h"
#include "engine/tls/layer.h"

namespace weir::http {

// Chooses the server while a client shakes hands; lives as long as the handshake, and keeps the
// generation that it began with.
class SessionHandshake final : public tls::ServerUser {
 public:
  SessionHandshake(Ref<Generation> generation, const Listener& listener)
      : generation_(std::move(generation)), listener_(listener), server_(listener.default_server) {}

  std::shared_ptr<const tls::ServerContext> choose(std::string_view server_name) override;
  std::string_view alpn_protocols() override;

 private:
  Ref<Generation> generation_;
  const Listener& listener_;
  const VirtualServer* server_;
};

}  // namespace weir::http
