#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "confparse/severity.h"

namespace weir::zone {
class Zone;
}

// What contexts are made of: plain data, filled in by the modules that read configurations.
namespace weir::tls {

enum class Protocol : uint32_t {
  sslv2 = 0x02,
  sslv3 = 0x04,
  tlsv1 = 0x08,
  tlsv1_1 = 0x10,
  tlsv1_2 = 0x20,
  tlsv1_3 = 0x40,
};
inline constexpr uint32_t kDefaultProtocols =
    static_cast<uint32_t>(Protocol::tlsv1_2) | static_cast<uint32_t>(Protocol::tlsv1_3);

// A certificate (chain) and its key: full paths, or "data:" and PEM.
struct Credential {
  std::string certificate;
  std::string key;
  bool operator==(const Credential&) const = default;
};

// ssl_certificate_cache and its like: of certificates whose names have variables.
struct CertificateCache {
  size_t most = 0;        // 0: off
  int64_t inactive = 10;  // seconds
  int64_t valid = 60;
  bool operator==(const CertificateCache&) const = default;
};

// ssl_conf_command: names and values of SSL_CONF_cmd.
using Commands = std::vector<std::pair<std::string, std::string>>;

enum class ClientVerification : uint8_t { off, on, optional, optional_no_ca };
enum class OcspMode : uint8_t { off, on, leaf };

struct SessionCacheOptions {
  enum class Kind : uint8_t { none, off, builtin, shared };
  Kind kind = Kind::none;
  bool builtin = false;       // beside shared
  int64_t builtin_size = -1;  // -1: OpenSSL's
  std::string zone;           // of shared
  size_t zone_size = 0;
  std::shared_ptr<zone::Zone> memory;
  bool operator==(const SessionCacheOptions&) const = default;
};

struct ServerOptions {
  uint32_t protocols = kDefaultProtocols;
  std::string ciphers = "HIGH:!aNULL:!MD5";
  std::string curves = "auto";
  bool prefer_server_ciphers = false;
  Commands commands;
  std::vector<Credential> credentials;  // without variables
  bool late_credentials = false;        // some have variables: the user's choose() loads them
  std::string password_file;            // full paths; empty: none
  std::string dhparam;
  ClientVerification verify = ClientVerification::off;
  int64_t verify_depth = 1;
  std::string client_certificate;   // CAs whose names are sent
  std::string trusted_certificate;  // CAs whose names are not
  std::string crl;
  OcspMode ocsp = OcspMode::off;
  std::string ocsp_responder;
  std::shared_ptr<zone::Zone> ocsp_cache;  // null: none
  bool stapling = false;
  bool stapling_verify = false;
  std::string stapling_file;
  std::string stapling_responder;
  bool reject_handshake = false;
  bool early_data = false;
  bool certificate_compression = false;
  std::vector<std::string> ech_files;
  size_t buffer_size = 16 * 1024;
  SessionCacheOptions session_cache;
  int64_t session_timeout = 300;  // seconds
  bool tickets = true;
  std::vector<std::string> ticket_keys;  // full paths
  std::string id_context;                // "HTTP" or "STREAM": sessions of one are not the other's
};

// proxy_ssl_*, grpc_ssl_*.
struct ClientOptions {
  uint32_t protocols = kDefaultProtocols;
  std::string ciphers = "DEFAULT";
  Commands commands;
  std::vector<Credential> credentials;  // none or one; one with variables goes to ClientParameters
  std::string password_file;            // full paths; empty: none
  bool verify = false;
  int64_t verify_depth = 1;
  std::string trusted_certificate;
  std::string crl;
  bool session_reuse = true;
};

// Something wrong with options: nginx's text, without a place in a file.
struct Problem {
  Severity severity = Severity::emerg;
  std::string text;
  bool placed = false;  // nginx adds the place it had read to: the end of the block
};
using Problems = std::vector<Problem>;

}  // namespace weir::tls
