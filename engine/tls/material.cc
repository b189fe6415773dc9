#include "engine/tls/material.h"

#include <sys/mman.h>
#include <unistd.h>

#include "engine/tls/error.h"

namespace weir::tls {
namespace {

constexpr std::pair<Protocol, uint64_t> kRefusals[] = {
    {Protocol::sslv3, SSL_OP_NO_SSLv3},     {Protocol::tlsv1, SSL_OP_NO_TLSv1},
    {Protocol::tlsv1_1, SSL_OP_NO_TLSv1_1}, {Protocol::tlsv1_2, SSL_OP_NO_TLSv1_2},
    {Protocol::tlsv1_3, SSL_OP_NO_TLSv1_3},
};

// A file that OpenSSL wants to open by its name, with what the World read: nothing else is opened
// while a configuration is compiled.
class PassedFile {
 public:
  explicit PassedFile(std::string_view bytes) : descriptor_(memfd_create("tls", MFD_CLOEXEC)) {
    if (descriptor_ >= 0 && ::write(descriptor_, bytes.data(), bytes.size()) >= 0) {
      path_ = "/proc/self/fd/" + std::to_string(descriptor_);
    }
  }
  PassedFile(const PassedFile&) = delete;
  PassedFile& operator=(const PassedFile&) = delete;
  ~PassedFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  const std::string& path() const { return path_; }

 private:
  int descriptor_;
  std::string path_;
};

}  // namespace

Material::Material() = default;
Material::~Material() = default;

SSL_CTX* new_context() {
  return SSL_CTX_new(TLS_method());
}

bool ContextParts::failed(std::string text) {
  problems.push_back({Severity::emerg, std::move(text)});
  return false;
}

void ContextParts::warn(std::string text) {
  problems.push_back({Severity::warn, std::move(text)});
}

void ContextParts::set_defaults(uint32_t protocols) {
  uint64_t refused = 0;
  for (const auto& [protocol, option] : kRefusals) {
    if ((protocols & static_cast<uint32_t>(protocol)) == 0) refused |= option;
  }
  SSL_CTX_set_min_proto_version(context, 0);
  SSL_CTX_set_max_proto_version(context, 0);
  SSL_CTX_clear_options(context, SSL_OP_NO_SSL_MASK);
  SSL_CTX_set_options(context, refused | SSL_OP_SINGLE_DH_USE | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_ANTI_REPLAY |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN |
                                SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  digest += std::to_string(protocols) + ";";
}

bool ContextParts::set_ciphers(const std::string& ciphers, bool prefer_server) {
  digest += ciphers + (prefer_server ? ";p;" : ";");
  if (SSL_CTX_set_cipher_list(context, ciphers.c_str()) == 0) {
    return failed("SSL_CTX_set_cipher_list(\"" + ciphers + "\") failed" + take_errors());
  }
  if (prefer_server) SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  return true;
}

bool ContextParts::use(conf::World& world, const Credential& credential,
                       const std::string& passwords) {
  std::string problem;
  auto chain = load_certificate(world, credential.certificate, problem);
  if (!chain) return failed(problem);
  if (SSL_CTX_use_certificate(context, chain->leaf.get()) == 0) {
    return failed("SSL_CTX_use_certificate(\"" + credential.certificate + "\") failed" +
                  take_errors());
  }
  SSL_CTX_clear_chain_certs(context);
  for (const X509Pointer& certificate : chain->rest) {
    SSL_CTX_add1_chain_cert(context, certificate.get());
  }
  auto key = load_key(world, credential.key, passwords, problem);
  if (!key) return failed(problem);
  if (SSL_CTX_use_PrivateKey(context, key->key.get()) == 0) {
    return failed("SSL_CTX_use_PrivateKey(\"" + credential.key + "\") failed" + take_errors());
  }
  digest += chain->digest + key->digest;
  material.chains.push_back(std::move(chain));
  material.keys.push_back(std::move(key));
  return true;
}

bool ContextParts::trust(conf::World& world, const std::string& path, const Authorities** loaded) {
  std::string problem;
  auto found = load_authorities(world, path, "SSL_CTX_load_verify_locations", problem);
  if (!found) return failed(problem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const auto& certificate : found->certificates) X509_STORE_add_cert(store, certificate.get());
  for (const auto& list : found->lists) X509_STORE_add_crl(store, list.get());
  ERR_clear_error();
  digest += "t" + found->digest;
  if (loaded) *loaded = found.get();
  material.authorities.push_back(std::move(found));
  return true;
}

bool ContextParts::revoke(conf::World& world, const std::string& path) {
  std::string problem;
  auto found = load_authorities(world, path, "X509_LOOKUP_load_file", problem);
  if (!found) return failed(problem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const auto& certificate : found->certificates) X509_STORE_add_cert(store, certificate.get());
  for (const auto& list : found->lists) X509_STORE_add_crl(store, list.get());
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  ERR_clear_error();
  digest += "r" + found->digest;
  material.authorities.push_back(std::move(found));
  return true;
}

bool ContextParts::run(conf::World& world, const Commands& commands) {
  if (commands.empty()) return true;
  std::unique_ptr<SSL_CONF_CTX, Freer<SSL_CONF_CTX_free>> run(SSL_CONF_CTX_new());
  SSL_CONF_CTX_set_flags(run.get(), SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER |
                                        SSL_CONF_FLAG_CLIENT | SSL_CONF_FLAG_CERTIFICATE |
                                        SSL_CONF_FLAG_SHOW_ERRORS);
  SSL_CONF_CTX_set_ssl_ctx(run.get(), context);
  for (const auto& [name, value] : commands) {
    digest += name + "=" + value + ";";
    std::unique_ptr<PassedFile> file;
    if (SSL_CONF_cmd_value_type(run.get(), name.c_str()) == SSL_CONF_TYPE_FILE) {
      std::string bytes;
      if (read_for_openssl(world, value, "r", bytes)) {
        file = std::make_unique<PassedFile>(bytes);
        digest += digest_of(bytes);
      }
    }
    const std::string& given = file ? file->path() : value;
    ERR_clear_error();
    if (SSL_CONF_cmd(run.get(), name.c_str(), given.c_str()) <= 0) {
      return failed("SSL_CONF_cmd(\"" + name + "\", \"" + value + "\") failed" + take_errors());
    }
  }
  if (SSL_CONF_CTX_finish(run.get()) != 1) {
    return failed("SSL_CONF_finish() failed" + take_errors());
  }
  return true;
}

}  // namespace weir::tls
