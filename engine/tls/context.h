#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "confparse/world.h"
#include "engine/tls/options.h"

struct ssl_ctx_st;

namespace weir::tls {

struct Material;

// Contexts are immutable once made, shared by count (atomically: they are made on a helper thread
// and outlive generations in connections), and found again by content: the same options with the
// same files give the same object, also after a reload. Files are read through the World: the
// master records certificates as they are and keys decrypted; passphrases stay with it.
//
// make() returns null when something is wrong; `problems` gets nginx's texts (warnings too).

class ServerContext final {
 public:
  static std::shared_ptr<const ServerContext> make(conf::World& world, const ServerOptions& options,
                                                   Problems& problems);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  const ServerOptions& options() const { return options_; }
  // Of all that decides who may talk to us: protocols, verification, CAs, CRL, certificates. A
  // connection whose server has another one after a reload is ended politely.
  const std::string& policy_digest() const { return policy_digest_; }
  // Of what a client's certificate is judged by: CAs, CRL (by content) and depth.
  const std::string& judges_digest() const { return judges_digest_; }
  ssl_ctx_st* native() const { return native_; }
  const Material& material() const { return *material_; }

 private:
  ServerContext();
  friend struct ServerContextMaker;
  ServerOptions options_;
  std::string policy_digest_;
  std::string judges_digest_;
  std::unique_ptr<Material> material_;
  ssl_ctx_st* native_ = nullptr;
};

class ClientContext final {
 public:
  static std::shared_ptr<const ClientContext> make(conf::World& world, const ClientOptions& options,
                                                   Problems& problems);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  const ClientOptions& options() const { return options_; }
  // Of everything that made it, files by content: belongs in the key of pooled connections.
  const std::string& digest() const { return digest_; }
  ssl_ctx_st* native() const { return native_; }
  const Material& material() const { return *material_; }

 private:
  ClientContext();
  friend struct ClientContextMaker;
  ClientOptions options_;
  std::string digest_;
  std::unique_ptr<Material> material_;
  ssl_ctx_st* native_ = nullptr;
};

}  // namespace weir::tls
