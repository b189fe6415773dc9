#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/tls/options.h"

namespace weir::tls {

struct CertificateChain;
struct PrivateKey;

// A certificate and its key, parsed.
struct LoadedCredential {
  std::shared_ptr<const CertificateChain> chain;
  std::shared_ptr<const PrivateKey> key;
};

// Of a certificate or key as it was evaluated: a file's full path (`folder` is that of the
// configuration, with its slash), or "data:…" as it is.
std::string full_name(std::string_view folder, std::string_view name);

// Credentials whose names have variables: read from the disk while a peer waits, with the worker's
// rights, or taken from this worker's cache, which `rules` bound. `passwords`: full path of the
// password file; empty: none. False: `problem` is nginx's text.
bool load_credential(const Credential& credential, const std::string& passwords,
                     const CertificateCache& rules, LoadedCredential& out, std::string& problem);

}  // namespace weir::tls
