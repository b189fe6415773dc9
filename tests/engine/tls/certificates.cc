#include "tests/engine/tls/certificates.h"

#include "engine/tls/native.h"

namespace tls_test {
namespace {

using namespace weir::tls;

X509Pointer read_certificate(const std::string& text) {
  const Bio bio = memory_of(text);
  return X509Pointer(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

Key read_key(const std::string& text) {
  const Bio bio = memory_of(text);
  return Key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
}

void add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  X509_add_ext(to, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Pair make_pair(const Options& options) {
  const Key key(EVP_EC_gen("P-256"));
  const X509Pointer certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), options.serial);
  const long day = 24L * 3600;
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60 * day);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), options.days * day);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(options.name.c_str()), -1, -1,
                             0);
  X509Pointer issuer;
  Key issuer_key;
  if (options.issuer) {
    issuer = read_certificate(options.issuer->certificate);
    issuer_key = read_key(options.issuer->key);
  }
  X509* signer = issuer ? issuer.get() : certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  if (options.authority) {
    add_extension(certificate.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
  } else {
    add_extension(certificate.get(), signer, NID_subject_alt_name, "DNS:" + options.name);
  }
  X509_sign(certificate.get(), issuer_key ? issuer_key.get() : key.get(), EVP_sha256());
  const Bio certificate_text = new_memory();
  PEM_write_bio_X509(certificate_text.get(), certificate.get());
  const Bio key_text = new_memory();
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(certificate_text), text_of(key_text)};
}

std::string encrypted(const Pair& pair, const std::string& passphrase) {
  const Key key = read_key(pair.key);
  const Bio out = new_memory();
  PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_128_cbc(), passphrase.c_str(),
                                static_cast<int>(passphrase.size()), nullptr, nullptr);
  return text_of(out);
}

}  // namespace tls_test
