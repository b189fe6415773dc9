#include "engine/tls/inspect.h"

#include <openssl/obj_mac.h>

#include <ctime>

#include "engine/tls/layer.h"
#include "engine/tls/native.h"

namespace weir::tls {
namespace {

constexpr char kHex[] = "0123456789abcdef";

std::string hexadecimal(const unsigned char* data, size_t size) {
  std::string text;
  text.reserve(size * 2);
  for (size_t i = 0; i < size; ++i) {
    text += kHex[data[i] >> 4];
    text += kHex[data[i] & 15];
  }
  return text;
}

std::string code_text(unsigned code) {
  std::string text = "0x";
  for (int shift = 12; shift >= 0; shift -= 4) text += kHex[code >> shift & 15];
  return text;
}

X509Pointer client_certificate(const Layer& layer) {
  return X509Pointer(SSL_get1_peer_certificate(layer.native()));
}

std::string name_text(const Layer& layer, bool subject, bool legacy) {
  const X509Pointer certificate = client_certificate(layer);
  if (!certificate) return {};
  const X509_NAME* name =
      subject ? X509_get_subject_name(certificate.get()) : X509_get_issuer_name(certificate.get());
  if (legacy) {
    char* line = X509_NAME_oneline(name, nullptr, 0);
    std::string text = line ? line : "";
    OPENSSL_free(line);
    return text;
  }
  const Bio out = new_memory();
  if (X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  return text_of(out);
}

std::string time_text(const ASN1_TIME* time) {
  const Bio out = new_memory();
  ASN1_TIME_print(out.get(), time);
  return text_of(out);
}

// The name of a group as OpenSSL has it, or its number.
std::string group_text(int group) {
  if ((group & TLSEXT_nid_unknown) != 0) return code_text(static_cast<unsigned>(group) & 0xffff);
  const char* name = OBJ_nid2sn(group);
  return name ? name : std::string();
}

}  // namespace

std::string_view protocol_of(const Layer& layer) {
  return SSL_get_version(layer.native());
}

std::string_view cipher_of(const Layer& layer) {
  const char* name = SSL_get_cipher_name(layer.native());
  return name ? name : "";
}

std::string offered_ciphers_of(const Layer& layer) {
  SSL* connection = layer.native();
  const unsigned char* codes = nullptr;
  const size_t size = SSL_client_hello_get0_ciphers(connection, &codes);
  std::string text;
  if (size > 0) {
    for (size_t i = 0; i + 1 < size; i += 2) {
      if (!text.empty()) text += ":";
      const SSL_CIPHER* cipher = SSL_CIPHER_find(connection, codes + i);
      text += cipher ? SSL_CIPHER_get_name(cipher)
                     : code_text(static_cast<unsigned>(codes[i]) << 8 | codes[i + 1]);
    }
    return text;
  }
  unsigned char* raw = nullptr;
  const long count = SSL_get0_raw_cipherlist(connection, &raw);
  const long width = SSL_get0_raw_cipherlist(connection, nullptr);
  for (long i = 0; width == 2 && i + 1 < count; i += 2) {
    if (!text.empty()) text += ":";
    const SSL_CIPHER* cipher = SSL_CIPHER_find(connection, raw + i);
    text += cipher ? SSL_CIPHER_get_name(cipher)
                   : code_text(static_cast<unsigned>(raw[i]) << 8 | raw[i + 1]);
  }
  return text;
}

std::string curve_of(const Layer& layer) {
  const auto group = static_cast<int>(SSL_get_negotiated_group(layer.native()));
  return group == NID_undef ? std::string() : group_text(group);
}

std::string offered_curves_of(const Layer& layer) {
  const long count = SSL_get1_groups(layer.native(), nullptr);
  if (count <= 0) return {};
  std::vector<int> groups(static_cast<size_t>(count));
  SSL_get1_groups(layer.native(), groups.data());
  std::string text;
  for (const int group : groups) {
    if (!text.empty()) text += ":";
    text += group_text(group);
  }
  return text;
}

std::string session_id_of(const Layer& layer) {
  const SSL_SESSION* session = SSL_get_session(layer.native());
  if (!session) return {};
  unsigned size = 0;
  const unsigned char* id = SSL_SESSION_get_id(session, &size);
  return hexadecimal(id, size);
}

bool session_reused(const Layer& layer) {
  return SSL_session_reused(layer.native()) != 0;
}

std::string_view server_name_of(const Layer& layer) {
  const char* name = SSL_get_servername(layer.native(), TLSEXT_NAMETYPE_host_name);
  return name ? name : "";
}

std::string_view alpn_protocol_of(const Layer& layer) {
  return layer.alpn();
}

namespace {

// Names of TLS signature schemes as OpenSSL 3.5 gives them, from the parts that 3.0 tells.
std::string signature_text(int key_type, int hash) {
  const char* key = OBJ_nid2sn(key_type);
  const char* digest = OBJ_nid2sn(hash);
  if (key_type == NID_ED25519) return "ed25519";
  if (key_type == NID_ED448) return "ed448";
  if (!key || key_type == NID_undef) return {};
  std::string text = key;
  if (hash != NID_undef && digest) text += std::string("-") + digest;
  return text;
}

}  // namespace

std::string signature_algorithm_of(const Layer& layer) {
  int key = NID_undef;
  int hash = NID_undef;
  if (SSL_get_signature_type_nid(layer.native(), &key) == 0) return {};
  SSL_get_signature_nid(layer.native(), &hash);
  return signature_text(key, hash);
}

std::string client_signature_algorithm_of(const Layer& layer) {
  int key = NID_undef;
  int hash = NID_undef;
  if (SSL_get_peer_signature_type_nid(layer.native(), &key) == 0) return {};
  SSL_get_peer_signature_nid(layer.native(), &hash);
  return signature_text(key, hash);
}

std::string offered_signature_algorithms_of(const Layer& layer) {
  const int count = SSL_get_sigalgs(layer.native(), 0, nullptr, nullptr, nullptr, nullptr, nullptr);
  std::string text;
  for (int i = 0; i < count; ++i) {
    int key = NID_undef;
    int hash = NID_undef;
    unsigned char signature_code = 0;
    unsigned char hash_code = 0;
    SSL_get_sigalgs(layer.native(), i, &key, &hash, nullptr, &signature_code, &hash_code);
    if (!text.empty()) text += ":";
    const std::string name = signature_text(key, hash);
    text += name.empty() ? code_text(static_cast<unsigned>(hash_code) << 8 | signature_code) : name;
  }
  return text;
}

bool has_client_certificate(const Layer& layer) {
  return client_certificate(layer) != nullptr;
}

std::string client_certificate_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  if (!certificate) return {};
  const Bio out = new_memory();
  return PEM_write_bio_X509(out.get(), certificate.get()) == 1 ? text_of(out) : std::string();
}

std::string client_subject_of(const Layer& layer) {
  return name_text(layer, true, false);
}
std::string client_issuer_of(const Layer& layer) {
  return name_text(layer, false, false);
}
std::string client_subject_legacy_of(const Layer& layer) {
  return name_text(layer, true, true);
}
std::string client_issuer_legacy_of(const Layer& layer) {
  return name_text(layer, false, true);
}

std::string client_serial_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  if (!certificate) return {};
  const Bio out = new_memory();
  i2a_ASN1_INTEGER(out.get(), X509_get0_serialNumber(certificate.get()));
  return text_of(out);
}

std::string client_fingerprint_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  if (!certificate) return {};
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate.get(), EVP_sha1(), out, &size) == 0) return {};
  return hexadecimal(out, size);
}

std::string client_valid_from_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  return certificate ? time_text(X509_get0_notBefore(certificate.get())) : std::string();
}

std::string client_valid_until_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  return certificate ? time_text(X509_get0_notAfter(certificate.get())) : std::string();
}

std::string client_days_left_of(const Layer& layer) {
  const X509Pointer certificate = client_certificate(layer);
  if (!certificate) return {};
  int days = 0;
  int seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate.get())) == 0) {
    return {};
  }
  return days < 0 || seconds < 0 ? "0" : std::to_string(days);
}

long verification_result(const Layer& layer) {
  return SSL_get_verify_result(layer.native());
}

const char* verification_text(long result) {
  return X509_verify_cert_error_string(result);
}

void forget_session(const ServerLayer& layer) {
  if (SSL_SESSION* session = SSL_get_session(layer.native())) {
    SSL_CTX_remove_session(layer.first_context().native(), session);
  }
}

bool is_missing_issuer(long result) {
  return result == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
         result == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
         result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

std::string client_verification_of(const Layer& layer) {
  if (!has_client_certificate(layer)) return "NONE";
  const long result = verification_result(layer);
  if (result == X509_V_OK) {
    const std::string& problem = static_cast<const ServerLayer&>(layer).ocsp_problem();
    return problem.empty() ? "SUCCESS" : "FAILED:" + problem;
  }
  return std::string("FAILED:") + verification_text(result);
}

}  // namespace weir::tls
