#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/tls/context.h"
#include "modules/shared/rows.h"

// TLS to upstreams: the directives proxy_ssl_* and grpc_ssl_* of http, and proxy_ssl_* of stream. A
// module's settings struct holds an UpstreamTlsSettings named `tls`.
namespace weir {

// Bits as those of tls::Protocol.
enum class UpstreamTlsProtocol : uint32_t {
  sslv2 = static_cast<uint32_t>(tls::Protocol::sslv2),
  sslv3 = static_cast<uint32_t>(tls::Protocol::sslv3),
  tlsv1 = static_cast<uint32_t>(tls::Protocol::tlsv1),
  tlsv1_1 = static_cast<uint32_t>(tls::Protocol::tlsv1_1),
  tlsv1_2 = static_cast<uint32_t>(tls::Protocol::tlsv1_2),
  tlsv1_3 = static_cast<uint32_t>(tls::Protocol::tlsv1_3),
};

struct UpstreamTlsSettings {
  // Full paths or "data:…", or, with variables, as written; `written` is for messages.
  conf::Template certificate, certificate_key;
  std::string certificate_written;
  std::string folder;  // of the configuration: relative names with variables are from there
  tls::CertificateCache cache;
  bool has_certificate_key = false;
  conf::Template name;
  conf::Bitmask<UpstreamTlsProtocol> protocols;
  std::string ciphers;
  tls::Commands commands;
  // As written; relative ones are from the folder of the configuration.
  std::string crl, password_file, trusted_certificate;
  bool server_name = false, session_reuse = true, verify = false;
  conf::Number verify_depth{1};

  bool late_certificate() const {
    return !certificate.is_literal() || !certificate_key.is_literal();
  }
};

// For finish(), where the settings are used: the context of these settings, one for equal ones.
// Null after problems, which are reported as nginx does. `prefix` is "proxy_" or "grpc_".
std::shared_ptr<const tls::ClientContext> make_client_context(conf::Compiler& compiler,
                                                              const UpstreamTlsSettings& settings,
                                                              std::string_view prefix);

namespace upstream_tls_rows {

using conf::Compiler;
using conf::Scope;
using conf::Statement;

void read_certificate(Compiler&, const Statement&, UpstreamTlsSettings&);
void read_certificate_key(Compiler&, const Statement&, UpstreamTlsSettings&);
void read_password_file(Compiler&, const Statement&, UpstreamTlsSettings&);
// `off`, or max=N and inactive= and valid=.
void read_certificate_cache(Compiler&, const Statement&, UpstreamTlsSettings&);

template <class Settings, auto Read>
void set(Compiler& compiler, Scope& scope, const Statement& at) {
  Read(compiler, at, scope.write<Settings>().tls);
}

template <class Settings, auto Member>
void into(Compiler& compiler, Scope& scope, const Statement& at) {
  auto value = scope.get<Settings>().tls.*Member;
  if (conf::read_setting(compiler, scope, at, value)) {
    scope.write<Settings>().tls.*Member = std::move(value);
  }
}

}  // namespace upstream_tls_rows

// The rows, for join_rows(). `Where` is the set of blocks.
template <class Settings, FixedText Prefix, uint32_t Where>
inline constexpr conf::Directive kUpstreamTlsRows[] = {
    {.name = kJoined<Prefix, "ssl_certificate">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::set<Settings, upstream_tls_rows::read_certificate>,
     .doc = "Certificate shown to upstreams: a PEM file, or data: and PEM."},
    {.name = kJoined<Prefix, "ssl_certificate_cache">,
     .where = Where,
     .args = {1, 3},
     .initial = "off",
     .set = upstream_tls_rows::set<Settings, upstream_tls_rows::read_certificate_cache>,
     .doc = "Checked; certificates whose names have variables are read for each connection."},
    {.name = kJoined<Prefix, "ssl_certificate_key">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::set<Settings, upstream_tls_rows::read_certificate_key>,
     .doc = "Key of the certificate shown to upstreams."},
    {.name = kJoined<Prefix, "ssl_ciphers">,
     .where = Where,
     .args = {1, 1},
     .initial = "DEFAULT",
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::ciphers>,
     .doc = "Ciphers offered to upstreams, up to TLS 1.2."},
    {.name = kJoined<Prefix, "ssl_conf_command">,
     .where = Where,
     .args = {2, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::commands>,
     .doc = "A command of OpenSSL's SSL_CONF_cmd."},
    {.name = kJoined<Prefix, "ssl_crl">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::crl>,
     .doc = "Revoked certificates: a PEM file."},
    {.name = kJoined<Prefix, "ssl_name">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::name>,
     .doc = "Name that the certificate is verified against, and sent as SNI; default: the host."},
    {.name = kJoined<Prefix, "ssl_password_file">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::set<Settings, upstream_tls_rows::read_password_file>,
     .doc = "Passphrases of keys, one a line."},
    {.name = kJoined<Prefix, "ssl_protocols">,
     .where = Where,
     .args = {1, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .initial = "TLSv1.2 TLSv1.3",
     .merge = conf::Merge::replace_list,
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::protocols>,
     .doc = "Versions of TLS offered to upstreams."},
    {.name = kJoined<Prefix, "ssl_server_name">,
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::server_name>,
     .doc = "Sends the name as SNI."},
    {.name = kJoined<Prefix, "ssl_session_reuse">,
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "on",
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::session_reuse>,
     .doc = "Resumes sessions with upstreams."},
    {.name = kJoined<Prefix, "ssl_trusted_certificate">,
     .where = Where,
     .args = {1, 1},
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::trusted_certificate>,
     .doc = "Authorities that upstreams' certificates are verified with: a PEM file."},
    {.name = kJoined<Prefix, "ssl_verify">,
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::verify>,
     .doc = "Verifies the certificates of upstreams."},
    {.name = kJoined<Prefix, "ssl_verify_depth">,
     .where = Where,
     .args = {1, 1},
     .initial = "1",
     .set = upstream_tls_rows::into<Settings, &UpstreamTlsSettings::verify_depth>,
     .doc = "Longest chain of certificates."},
};

}  // namespace weir

template <>
struct weir::conf::EnumWords<weir::UpstreamTlsProtocol> {
  using E = weir::UpstreamTlsProtocol;
  static constexpr std::pair<std::string_view, E> words[] = {
      {"SSLv2", E::sslv2},     {"SSLv3", E::sslv3},     {"TLSv1", E::tlsv1},
      {"TLSv1.1", E::tlsv1_1}, {"TLSv1.2", E::tlsv1_2}, {"TLSv1.3", E::tlsv1_3}};
};
