#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/world.h"
#include "engine/tls/native.h"
#include "engine/tls/options.h"

// Certificates, keys and lists of CAs, read through a World and parsed once for each content in the
// whole process: what a running configuration holds already is found again. Safe in any thread.
namespace weir::tls {

struct CertificateChain {
  X509Pointer leaf;
  std::vector<X509Pointer> rest;
  std::string digest;  // of the content
};
struct PrivateKey {
  Key key;
  std::string digest;
};
// What trusts: certificates, and revocation lists among them.
struct Authorities {
  std::vector<X509Pointer> certificates;
  std::vector<std::unique_ptr<X509_CRL, Freer<X509_CRL_free>>> lists;
  std::string digest;
};

// `problem` is nginx's text: `cannot load certificate "…": BIO_new_file() failed (SSL: …)`. Null
// then.
std::shared_ptr<const CertificateChain> load_certificate(conf::World& world,
                                                         const std::string& name,
                                                         std::string& problem);
// `passwords`: full path of ssl_password_file; empty: none.
std::shared_ptr<const PrivateKey> load_key(conf::World& world, const std::string& name,
                                           const std::string& passwords, std::string& problem);
// `call` names what failed: "SSL_CTX_load_verify_locations".
std::shared_ptr<const Authorities> load_authorities(conf::World& world, const std::string& path,
                                                    const char* call, std::string& problem);
// Reads a file for BIO_new_file-like messages: on failure the error queue is as after
// BIO_new_file(path, mode).
bool read_for_openssl(conf::World& world, const std::string& path, const char* mode,
                      std::string& out);
// ssl_password_file: is it readable? The error is `open() "…" failed`, and its errno.
int check_password_file(conf::World& world, const std::string& path);

}  // namespace weir::tls
