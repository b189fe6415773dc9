#define OPENSSL_SUPPRESS_DEPRECATED  // DH parameters, with the messages of nginx's calls
#include <openssl/dh.h>

#include <ctime>
#include <map>
#include <mutex>

#include "engine/log/error_log.h"
#include "engine/tls/context.h"
#include "engine/tls/context_data.h"
#include "engine/tls/error.h"
#include "engine/tls/layer.h"
#include "engine/tls/material.h"
#include "engine/tls/material_checks.h"
#include "engine/tls/session_store.h"
#include "engine/tls/tickets.h"

namespace weir::tls {
namespace {

// --- what OpenSSL asks while it shakes hands

ServerLayer* server_layer(SSL* connection) {
  return static_cast<ServerLayer*>(layer_of(connection));
}

int on_client_hello(SSL* connection, int* alert, void*) {
  ServerLayer* layer = server_layer(connection);
  return layer ? layer->client_hello(alert) : SSL_CLIENT_HELLO_SUCCESS;
}

// The name was seen in the hello; this acknowledges it.
int on_server_name(SSL* connection, int*, void*) {
  return SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK
                                                                   : SSL_TLSEXT_ERR_NOACK;
}

int on_alpn(SSL* connection, const unsigned char** out, unsigned char* out_size,
            const unsigned char* offered, unsigned offered_size, void*) {
  ServerLayer* layer = server_layer(connection);
  if (!layer || !layer->user()) return SSL_TLSEXT_ERR_NOACK;
  const std::string_view ours = layer->user()->alpn_protocols();
  if (ours.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* chosen = nullptr;
  const int result =
      SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int on_certificate(SSL* connection, void*) {
  ServerLayer* layer = server_layer(connection);
  return layer && layer->user() && layer->user()->load_credentials() ? 1 : 0;
}

// What is wrong with a client's certificate is the request's business.
int on_verify(int, X509_STORE_CTX*) {
  return 1;
}

int on_status(SSL* connection, void*) {
  ServerLayer* layer = server_layer(connection);
  if (!layer || !layer->loop()) return SSL_TLSEXT_ERR_NOACK;
  for (const auto& staple : layer->context().material().staples) {
    if (staple->certificate() && staple->certificate() != SSL_get_certificate(connection)) continue;
    const std::string& response = staple->response(*layer->loop());
    if (response.empty()) return SSL_TLSEXT_ERR_NOACK;
    auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(response.data(), response.size()));
    SSL_set_tlsext_status_ocsp_resp(connection, copy, static_cast<long>(response.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

// --- sessions in a shared store: that of the server that accepted, whichever was chosen then

const ServerContext* session_context(SSL* connection) {
  ServerLayer* layer = server_layer(connection);
  return layer ? &layer->first_context() : nullptr;
}

int on_new_session(SSL* connection, SSL_SESSION* session) {
  // OpenSSL tells of TLS 1.3 sessions that live in tickets, too.
  if (SSL_version(connection) == TLS1_3_VERSION &&
      (SSL_get_options(connection) & SSL_OP_NO_TICKET) == 0) {
    return 0;
  }
  const ServerContext* context = session_context(connection);
  const int size = i2d_SSL_SESSION(session, nullptr);
  if (!context || size <= 0 || static_cast<size_t>(size) > session_store::kLargestSession) return 0;
  std::string bytes(static_cast<size_t>(size), '\0');
  auto* to = reinterpret_cast<unsigned char*>(bytes.data());
  i2d_SSL_SESSION(session, &to);
  unsigned id_size = 0;
  const unsigned char* id = SSL_SESSION_get_id(session, &id_size);
  session_store::add(*context->options().session_cache.memory,
                     {reinterpret_cast<const char*>(id), id_size}, bytes,
                     std::time(nullptr) + context->options().session_timeout);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return 0;
}

SSL_SESSION* on_find_session(SSL* connection, const unsigned char* id, int id_size, int* copy) {
  *copy = 0;
  const ServerContext* context = session_context(connection);
  if (!context) return nullptr;
  const std::string bytes = session_store::find(
      *context->options().session_cache.memory,
      {reinterpret_cast<const char*>(id), static_cast<size_t>(id_size)}, std::time(nullptr));
  if (bytes.empty()) return nullptr;
  const auto* from = reinterpret_cast<const unsigned char*>(bytes.data());
  return d2i_SSL_SESSION(nullptr, &from, static_cast<long>(bytes.size()));
}

void on_remove_session(SSL_CTX* native, SSL_SESSION* session) {
  const ServerContext* context = context_of(native);
  if (!context) return;
  unsigned size = 0;
  const unsigned char* id = SSL_SESSION_get_id(session, &size);
  session_store::remove(*context->options().session_cache.memory,
                        {reinterpret_cast<const char*>(id), size});
}

void set_session_cache(SSL_CTX* native, const ServerOptions& options) {
  const SessionCacheOptions& cache = options.session_cache;
  SSL_CTX_set_timeout(native, static_cast<long>(options.session_timeout));
  using Kind = SessionCacheOptions::Kind;
  if (cache.kind == Kind::off) {
    SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
    return;
  }
  if (cache.kind == Kind::none) {
    // Says to clients that sessions may be reused, and keeps none.
    SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR |
                                               SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_cache_size(native, 1);
    return;
  }
  long mode = SSL_SESS_CACHE_SERVER;
  const bool builtin = cache.kind == Kind::builtin || cache.builtin;
  if (!builtin) mode |= SSL_SESS_CACHE_NO_INTERNAL;
  SSL_CTX_set_session_cache_mode(native, mode);
  if (builtin && cache.builtin_size >= 0) SSL_CTX_sess_set_cache_size(native, cache.builtin_size);
  if (cache.kind != Kind::shared || !cache.memory) return;
  SSL_CTX_sess_set_new_cb(native, on_new_session);
  SSL_CTX_sess_set_get_cb(native, on_find_session);
  SSL_CTX_sess_set_remove_cb(native, on_remove_session);
}

// --- contexts in use, by content

struct Known {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<const ServerContext>> contexts;
};
Known& known() {
  static auto& table = *new Known();
  return table;
}

}  // namespace

// One attempt at a context.
struct ServerContextMaker {
  ServerContextMaker(conf::World& world, const ServerOptions& options, Problems& problems)
      : world(world),
        options(options),
        made(new ServerContext()),
        parts{made->native_ = new_context(), *made->material_, problems, digest} {
    made->options_ = options;
  }

  bool add_credentials();
  bool set_verification();
  bool set_parameters();
  bool read_ticket_keys();
  bool read_staple();
  void prepare_stapling();
  X509Pointer find_issuer(const CertificateChain& chain);
  bool read_ocsp_responder();
  bool make();
  void connect();
  void tell_unsupported();
  std::shared_ptr<const ServerContext> share();

  conf::World& world;
  const ServerOptions& options;
  std::shared_ptr<ServerContext> made;
  std::string digest;
  ContextParts parts;
};

bool ServerContextMaker::add_credentials() {
  for (const Credential& credential : options.credentials) {
    if (!parts.use(world, credential, options.password_file)) return false;
  }
  return true;
}

bool ServerContextMaker::set_verification() {
  SSL_CTX* native = parts.context;
  size_t trusted_from = digest.size();
  if (options.verify != ClientVerification::off) {
    SSL_CTX_set_verify(native, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_verify_depth(native, static_cast<int>(options.verify_depth));
    if (!options.client_certificate.empty()) {
      const Authorities* loaded = nullptr;
      if (!parts.trust(world, options.client_certificate, &loaded)) return false;
      STACK_OF(X509_NAME)* names = sk_X509_NAME_new_null();
      for (const auto& certificate : loaded->certificates) {
        sk_X509_NAME_push(names, X509_NAME_dup(X509_get_subject_name(certificate.get())));
      }
      SSL_CTX_set_client_CA_list(native, names);
    }
  }
  std::string judges = digest.substr(trusted_from) + std::to_string(options.verify_depth) + ";";
  digest += "v" + std::to_string(static_cast<int>(options.verify)) + "," +
            std::to_string(options.verify_depth) + ";";
  trusted_from = digest.size();
  if (!options.trusted_certificate.empty() && !parts.trust(world, options.trusted_certificate)) {
    return false;
  }
  if (!options.crl.empty() && !parts.revoke(world, options.crl)) return false;
  made->judges_digest_ = digest_of(judges + digest.substr(trusted_from));
  return read_ocsp_responder();
}

bool ServerContextMaker::set_parameters() {
  SSL_CTX* native = parts.context;
  if (!options.dhparam.empty()) {
    std::string bytes;
    if (!read_for_openssl(world, options.dhparam, "r", bytes)) {
      return parts.failed("BIO_new_file(\"" + options.dhparam + "\") failed" + take_errors());
    }
    const Bio bio = memory_of(bytes);
    std::unique_ptr<DH, Freer<DH_free>> dh(
        PEM_read_bio_DHparams(bio.get(), nullptr, nullptr, nullptr));
    if (!dh) {
      return parts.failed("PEM_read_bio_DHparams(\"" + options.dhparam + "\") failed" +
                          take_errors());
    }
    if (SSL_CTX_set_tmp_dh(native, dh.get()) != 1) {
      return parts.failed("SSL_CTX_set_tmp_dh(\"" + options.dhparam + "\") failed" + take_errors());
    }
    digest += "d" + digest_of(bytes);
  }
  digest += options.curves + ";";
  if (options.curves != "auto" && SSL_CTX_set1_curves_list(native, options.curves.c_str()) == 0) {
    return parts.failed("SSL_CTX_set1_curves_list(\"" + options.curves + "\") failed" +
                        take_errors());
  }
  return true;
}

bool ServerContextMaker::read_ticket_keys() {
  for (const std::string& path : options.ticket_keys) {
    const auto bytes = world.read_file(path);
    TicketKey key;
    if (!bytes.ok() || !parse_ticket_key(bytes.value, key)) {
      parts.failed(bytes.ok() ? "\"" + path + "\" must be 48 or 80 bytes"
                              : "open() \"" + path + "\" failed" + error_number_text(bytes.error));
      parts.problems.back().placed = true;
      return false;
    }
    made->material_->ticket_keys.push_back(key);
    digest += "k" + digest_of(bytes.value);
  }
  return true;
}

// Who issued a certificate: one of its chain, or one that is trusted.
X509Pointer ServerContextMaker::find_issuer(const CertificateChain& chain) {
  for (const X509Pointer& each : chain.rest) {
    if (X509_check_issued(each.get(), chain.leaf.get()) == X509_V_OK) {
      X509_up_ref(each.get());
      return X509Pointer(each.get());
    }
  }
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> search(X509_STORE_CTX_new());
  X509* issuer = nullptr;
  if (X509_STORE_CTX_init(search.get(), SSL_CTX_get_cert_store(parts.context), nullptr, nullptr) !=
          1 ||
      X509_STORE_CTX_get1_issuer(&issuer, search.get(), chain.leaf.get()) != 1) {
    ERR_clear_error();
    return nullptr;
  }
  return X509Pointer(issuer);
}

// Stapling is left out, with a warning, where something is missing.
void ServerContextMaker::prepare_stapling() {
  for (size_t i = 0; i < made->material_->chains.size(); ++i) {
    const CertificateChain& chain = *made->material_->chains[i];
    const std::string name = "\"" + options.credentials[i].certificate + "\"";
    X509Pointer issuer = find_issuer(chain);
    if (!issuer) {
      parts.warn("\"ssl_stapling\" ignored, issuer certificate not found for certificate " + name);
      continue;
    }
    const std::string url = options.stapling_responder.empty() ? responder_in(chain.leaf.get())
                                                               : options.stapling_responder;
    if (url.empty()) {
      parts.warn("\"ssl_stapling\" ignored, no OCSP responder URL in the certificate " + name);
      continue;
    }
    Responder responder;
    std::string problem;
    if (!parse_responder(&world, url, responder, problem)) {
      parts.warn("\"ssl_stapling\" ignored, " + problem + " in OCSP responder \"" + url +
                 "\" in the certificate " + name);
      continue;
    }
    OcspTrust trust{SSL_CTX_get_cert_store(parts.context), nullptr, options.stapling_verify};
    made->material_->staples.push_back(
        std::make_unique<Staple>(std::move(responder), chain.leaf.get(), issuer.get(), trust));
  }
}

bool ServerContextMaker::read_ocsp_responder() {
  if (options.ocsp == OcspMode::off || options.ocsp_responder.empty()) return true;
  std::string problem;
  if (parse_responder(&world, options.ocsp_responder, made->material_->responder, problem)) {
    return true;
  }
  return parts.failed(problem + " in OCSP responder \"" + options.ocsp_responder +
                      "\" in \"ssl_ocsp_responder\"");
}

bool ServerContextMaker::read_staple() {
  if (!options.stapling) return true;
  if (options.stapling_file.empty()) {
    prepare_stapling();
    return true;
  }
  const std::string& path = options.stapling_file;
  std::string bytes;
  if (!read_for_openssl(world, path, "rb", bytes)) {
    return parts.failed("BIO_new_file(\"" + path + "\") failed" + take_errors());
  }
  const Bio bio = memory_of(bytes);
  std::unique_ptr<OCSP_RESPONSE, Freer<OCSP_RESPONSE_free>> response(
      d2i_OCSP_RESPONSE_bio(bio.get(), nullptr));
  if (!response) {
    return parts.failed("d2i_OCSP_RESPONSE_bio(\"" + path + "\") failed" + take_errors());
  }
  made->material_->staples.push_back(std::make_unique<Staple>(bytes));
  digest += "s" + digest_of(bytes);
  return true;
}

// What this OpenSSL does not do is said, as nginx says it.
void ServerContextMaker::tell_unsupported() {
  if (options.certificate_compression) {
    parts.warn("\"ssl_certificate_compression\" is not supported on this platform, ignored");
  }
  if (!options.ech_files.empty()) {
    parts.warn("\"ssl_ech_file\" is not supported on this platform, ignored");
  }
}

bool ServerContextMaker::make() {
  parts.set_defaults(options.protocols);
  if (!parts.set_ciphers(options.ciphers, options.prefer_server_ciphers)) return false;
  if (!add_credentials() || !set_verification()) return false;
  // What decides who may come in, and who we are: sessions are not resumed across.
  std::string policy = options.id_context + ";" + digest;
  for (const Credential& credential : options.credentials) policy += credential.certificate + ";";
  policy += options.late_credentials ? "l;" : ";";
  policy += std::to_string(static_cast<int>(options.ocsp)) + options.ocsp_responder;
  made->policy_digest_ = made->material_->id_context = digest_of(policy);
  if (!set_parameters() || !read_ticket_keys() || !read_staple()) return false;
  if (!parts.run(world, options.commands)) return false;
  tell_unsupported();
  connect();
  return true;
}

void ServerContextMaker::connect() {
  SSL_CTX* native = parts.context;
  const std::string& id = made->material_->id_context;
  attach(native, made.get());
  SSL_CTX_set_session_id_context(native, reinterpret_cast<const unsigned char*>(id.data()),
                                 static_cast<unsigned>(id.size()));
  SSL_CTX_set_client_hello_cb(native, on_client_hello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(native, on_server_name);
  SSL_CTX_set_alpn_select_cb(native, on_alpn, nullptr);
  if (!made->material_->staples.empty()) SSL_CTX_set_tlsext_status_cb(native, on_status);
  if (options.late_credentials) SSL_CTX_set_cert_cb(native, on_certificate, nullptr);
  if (options.early_data) SSL_CTX_set_max_early_data(native, 16384);
  set_session_cache(native, options);
  if (!options.tickets) SSL_CTX_set_options(native, SSL_OP_NO_TICKET);
  const auto secret = world.derive(
      "ticket secret", [](conf::World&) { return conf::Answer<std::string>{ticket_secret(), 0}; });
  if (options.tickets) set_ticket_keys(native, *made->material_, secret.value);
}

// The same thing, if a running configuration has it already.
std::shared_ptr<const ServerContext> ServerContextMaker::share() {
  const SessionCacheOptions& cache = options.session_cache;
  digest += std::to_string(static_cast<int>(cache.kind)) + (cache.builtin ? "b" : "-") +
            std::to_string(cache.builtin_size) + cache.zone + ":" +
            std::to_string(cache.zone_size) + ";" + std::to_string(options.session_timeout) + ";" +
            std::to_string(options.buffer_size) + (options.tickets ? "t" : "-") +
            (options.early_data ? "e" : "-") + (options.reject_handshake ? "r" : "-") +
            (options.stapling ? "s" : "-") + (options.stapling_verify ? "v" : "-") +
            options.stapling_responder + ";" + made->policy_digest_;
  const std::lock_guard<std::mutex> lock(known().mutex);
  auto& entry = known().contexts[digest_of(digest)];
  if (auto found = entry.lock()) return found;
  entry = made;
  std::erase_if(known().contexts, [](const auto& each) { return each.second.expired(); });
  return made;
}

ServerContext::ServerContext() : material_(std::make_unique<Material>()) {}

ServerContext::~ServerContext() {
  if (!native_) return;
  attach(native_, nullptr);
  SSL_CTX_free(native_);
}

std::shared_ptr<const ServerContext> ServerContext::make(conf::World& world,
                                                         const ServerOptions& options,
                                                         Problems& problems) {
  ERR_clear_error();
  ServerContextMaker maker(world, options, problems);
  if (!maker.parts.context) {
    maker.parts.failed("SSL_CTX_new() failed" + take_errors());
    return nullptr;
  }
  if (!maker.make()) return nullptr;
  return maker.share();
}

}  // namespace weir::tls
