#include <map>
#include <mutex>

#include "engine/tls/context.h"
#include "engine/tls/error.h"
#include "engine/tls/material.h"
#include "engine/tls/sessions.h"

namespace weir::tls {
namespace {

struct Known {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<const ClientContext>> contexts;
};
Known& known() {
  static auto& table = *new Known();
  return table;
}

// Judged after the handshake, with nginx's words.
int on_verify(int, X509_STORE_CTX*) {
  return 1;
}

}  // namespace

struct ClientContextMaker {
  static std::shared_ptr<const ClientContext> make(conf::World& world, const ClientOptions& options,
                                                   Problems& problems);
};

std::shared_ptr<const ClientContext> ClientContextMaker::make(conf::World& world,
                                                              const ClientOptions& options,
                                                              Problems& problems) {
  ERR_clear_error();
  const std::shared_ptr<ClientContext> made(new ClientContext());
  made->options_ = options;
  made->native_ = new_context();
  std::string digest;
  ContextParts parts{made->native_, *made->material_, problems, digest};
  if (!made->native_) {
    parts.failed("SSL_CTX_new() failed" + take_errors());
    return nullptr;
  }
  parts.set_defaults(options.protocols);
  if (!parts.set_ciphers(options.ciphers, false)) return nullptr;
  for (const Credential& credential : options.credentials) {
    if (!parts.use(world, credential, options.password_file)) return nullptr;
  }
  digest += std::to_string(options.verify) + std::to_string(options.verify_depth) +
            std::to_string(options.session_reuse) + ";";
  if (options.verify) {
    SSL_CTX_set_verify(made->native_, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_verify_depth(made->native_, static_cast<int>(options.verify_depth));
    const std::string& trusted = options.trusted_certificate;
    if (!trusted.empty() && !parts.trust(world, trusted)) return nullptr;
    if (!options.crl.empty() && !parts.revoke(world, options.crl)) return nullptr;
  }
  if (options.session_reuse) {
    SSL_CTX_set_session_cache_mode(made->native_,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made->native_, ClientSessions::on_new);
  }
  if (!parts.run(world, options.commands)) return nullptr;
  made->digest_ = digest_of(digest);
  const std::lock_guard<std::mutex> lock(known().mutex);
  auto& entry = known().contexts[made->digest_];
  if (auto found = entry.lock()) return found;
  entry = made;
  std::erase_if(known().contexts, [](const auto& each) { return each.second.expired(); });
  return made;
}

ClientContext::ClientContext() : material_(std::make_unique<Material>()) {}

ClientContext::~ClientContext() {
  SSL_CTX_free(native_);
}

std::shared_ptr<const ClientContext> ClientContext::make(conf::World& world,
                                                         const ClientOptions& options,
                                                         Problems& problems) {
  return ClientContextMaker::make(world, options, problems);
}

}  // namespace weir::tls
