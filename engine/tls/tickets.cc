#include "engine/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <cstring>

#include "engine/tls/context.h"
#include "engine/tls/context_data.h"
#include "engine/tls/layer.h"
#include "engine/tls/material_checks.h"

namespace weir::tls {
namespace {

int fail() {
  return -1;
}

bool begin_mac(EVP_MAC_CTX* mac, const TicketKey& key) {
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.mac),
                                        key.size),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

const EVP_CIPHER* cipher_of(const TicketKey& key) {
  return key.size == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
}

// OpenSSL asks: how is this ticket sealed (seal != 0) or opened?
int choose_key(SSL* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
               EVP_MAC_CTX* mac, int seal) {
  const auto* layer = static_cast<const ServerLayer*>(layer_of(connection));
  if (layer == nullptr || layer->first_context().material().ticket_keys.empty()) return fail();
  const auto& keys = layer->first_context().material().ticket_keys;
  if (seal == 1) {
    const TicketKey& key = keys.front();
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher_of(key))) != 1) return fail();
    if (EVP_EncryptInit_ex(cipher, cipher_of(key), nullptr, key.cipher, iv) != 1) return fail();
    if (!begin_mac(mac, key)) return fail();
    std::memcpy(name, key.name, sizeof key.name);
    return 1;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    const TicketKey& key = keys[i];
    if (CRYPTO_memcmp(name, key.name, sizeof key.name) != 0) continue;
    if (!begin_mac(mac, key)) return fail();
    if (EVP_DecryptInit_ex(cipher, cipher_of(key), nullptr, key.cipher, iv) != 1) return fail();
    // 2: the client gets a new one, as always in TLS 1.3 (RFC 8446 section C.4: used once).
    return i == 0 && SSL_version(connection) != TLS1_3_VERSION ? 1 : 2;
  }
  return 0;
}

}  // namespace

const std::string& ticket_secret() {
  static const std::string secret = [] {
    std::string bytes(64, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), 64) != 1) bytes.clear();
    return bytes;
  }();
  return secret;
}

bool parse_ticket_key(const std::string& bytes, TicketKey& out) {
  std::memset(&out, 0, sizeof out);
  const char* at = bytes.data();
  if (bytes.size() == 48) {
    out.size = 16;
    std::memcpy(out.name, at, 16);
    std::memcpy(out.cipher, at + 16, 16);
    std::memcpy(out.mac, at + 32, 16);
    return true;
  }
  if (bytes.size() != 80) return false;
  out.size = 32;
  std::memcpy(out.name, at, 16);
  std::memcpy(out.mac, at + 16, 32);
  std::memcpy(out.cipher, at + 48, 32);
  return true;
}

void set_ticket_keys(SSL_CTX* context, const Material& material, const std::string& secret) {
  if (!material.ticket_keys.empty()) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, choose_key);
    return;
  }
  if (secret.empty()) return;  // OpenSSL's own
  std::string keys;
  for (const char* part : {"1", "2", "3"}) {
    keys += digest_of(part + secret + material.id_context);
  }
  SSL_CTX_set_tlsext_ticket_keys(context, keys.data(), 80);
}

}  // namespace weir::tls
