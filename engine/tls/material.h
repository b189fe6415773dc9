#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/tls/files.h"
#include "engine/tls/ocsp.h"
#include "engine/tls/options.h"
#include "engine/tls/staple.h"

// What a context is made of, kept as long as it. For this room's own files only.
namespace weir::tls {

struct TicketKey {
  unsigned char name[16];
  unsigned char mac[32];
  unsigned char cipher[32];
  size_t size;  // of the cipher's key: 16 or 32; the mac's is 16 for the former
};

struct Material {
  Material();
  ~Material();
  std::vector<std::shared_ptr<const CertificateChain>> chains;
  std::vector<std::shared_ptr<const PrivateKey>> keys;
  std::vector<std::shared_ptr<const Authorities>> authorities;
  std::vector<TicketKey> ticket_keys;  // the first one seals
  std::string id_context;              // 32 bytes
  Responder responder;                 // ssl_ocsp_responder
  // Of certificates that have a responder; one from a file is for all.
  std::vector<std::unique_ptr<Staple>> staples;
};

// Steps that server and client contexts share. False: `problems` says why.
struct ContextParts {
  SSL_CTX* context;
  Material& material;
  Problems& problems;
  std::string& digest;  // grows by the content of everything that is used

  bool failed(std::string text);
  void warn(std::string text);
  void set_defaults(uint32_t protocols);
  bool set_ciphers(const std::string& ciphers, bool prefer_server);
  bool use(conf::World& world, const Credential& credential, const std::string& passwords);
  // Trusts what is in the file; its digest goes to the material.
  bool trust(conf::World& world, const std::string& path, const Authorities** loaded = nullptr);
  bool revoke(conf::World& world, const std::string& path);
  bool run(conf::World& world, const Commands& commands);
};

SSL_CTX* new_context();

}  // namespace weir::tls
