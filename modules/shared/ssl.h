#pragma once

#include <array>
#include <string>

#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "engine/tls/server_settings.h"

// The ssl_* directives that http and stream share: setters, one table for both, and the making of
// contexts.
namespace weir::shared::ssl {

using conf::Compiler;
using conf::Scope;
using conf::Statement;

void set_certificate(Compiler&, Scope&, const Statement&);
void set_certificate_key(Compiler&, Scope&, const Statement&);
void set_password_file(Compiler&, Scope&, const Statement&);
void set_protocols(Compiler&, Scope&, const Statement&);
void set_text(Compiler&, Scope&, const Statement&);  // ciphers, curves, responders
void set_file(Compiler&, Scope&, const Statement&);  // one file name
void set_flag(Compiler&, Scope&, const Statement&);
void set_command(Compiler&, Scope&, const Statement&);
void set_verify_client(Compiler&, Scope&, const Statement&);
void set_verify_depth(Compiler&, Scope&, const Statement&);
void set_session_cache(Compiler&, Scope&, const Statement&);
void set_session_timeout(Compiler&, Scope&, const Statement&);
void set_ticket_key(Compiler&, Scope&, const Statement&);
void set_ocsp(Compiler&, Scope&, const Statement&);
void set_ocsp_cache(Compiler&, Scope&, const Statement&);
void set_certificate_cache(Compiler&, Scope&, const Statement&);
void set_ech_file(Compiler&, Scope&, const Statement&);

// The names behind ssl_alpn or proxy_ssl_alpn, each with its length in a byte ahead (RFC 7301,
// section 3.1), as OpenSSL wants them. False after reporting.
bool read_alpn(Compiler&, const Statement&, std::string& protocols);

// At the end of a server's directives: makes its context. `id_context` tells http from stream.
void finish_server(Compiler& compiler, Scope& scope, std::string_view id_context);

// At the end of the block: every `listen … ssl` needs a certificate, the default server's; where
// that rejects handshakes, each other server's. `Builder`: http's or stream's.
template <class Builder>
void check_certificates(Compiler& compiler, Builder& build) {
  const auto settings = [](const auto* server) -> const tls::ServerSettings& {
    return server->scope->template get<tls::ServerSettings>();
  };
  for (const auto& listener : build.graph().listeners) {
    const auto& of_default = settings(&*listener->default_server);
    if (!listener->ssl || !of_default.certificates.empty()) continue;
    for (const auto* server : listener->servers) {
      if (!of_default.options.reject_handshake && server != &*listener->default_server) continue;
      const auto& own = settings(server);
      if (!own.certificates.empty() || own.options.reject_handshake) continue;
      compiler.error(*build.server_statements.at(server),
                     "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive",
                     "this server takes TLS connections: give it ssl_certificate and "
                     "ssl_certificate_key");
      break;
    }
  }
}

// The rows of both modules.
template <uint32_t Where>
constexpr auto kDirectives = std::to_array<conf::Directive>({
    {.name = "ssl_certificate",
     .where = Where,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = set_certificate,
     .doc = "File with the server's certificate and its chain; several for several kinds of key."},
    {.name = "ssl_certificate_key",
     .where = Where,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = set_certificate_key,
     .doc = "File with the key of the certificate at the same place."},
    {.name = "ssl_certificate_cache",
     .where = Where,
     .args = {1, 3},
     .initial = "off",
     .set = set_certificate_cache,
     .doc = "Keeps certificates and keys whose file names have variables."},
    {.name = "ssl_certificate_compression",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = set_flag,
     .doc = "Checked; this OpenSSL does not compress certificates."},
    {.name = "ssl_password_file",
     .where = Where,
     .args = {1, 1},
     .set = set_password_file,
     .doc = "File with passphrases of keys, one a line."},
    {.name = "ssl_protocols",
     .where = Where,
     .args = {1, conf::kNoLimit},
     .repeat = conf::Repeat::collect,
     .initial = "TLSv1.2 TLSv1.3",
     .set = set_protocols,
     .doc = "Protocol versions that are spoken."},
    {.name = "ssl_ciphers",
     .where = Where,
     .args = {1, 1},
     .initial = "HIGH:!aNULL:!MD5",
     .set = set_text,
     .doc = "Ciphers up to TLS 1.2, as OpenSSL lists them."},
    {.name = "ssl_prefer_server_ciphers",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = set_flag,
     .doc = "The server's order of ciphers counts, not the client's."},
    {.name = "ssl_ecdh_curve",
     .where = Where,
     .args = {1, 1},
     .initial = "auto",
     .set = set_text,
     .doc = "Curves for the key exchange, joined by colons."},
    {.name = "ssl_dhparam",
     .where = Where,
     .args = {1, 1},
     .set = set_file,
     .doc = "File with parameters of DHE ciphers; without it there are none."},
    {.name = "ssl_conf_command",
     .where = Where,
     .args = {2, 2},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = set_command,
     .doc = "A command of OpenSSL's configuration: name and value."},
    {.name = "ssl_session_cache",
     .where = Where,
     .args = {1, 2},
     .repeat = conf::Repeat::collect,
     .initial = "none",
     .set = set_session_cache,
     .doc = "Where sessions are kept for resumption."},
    {.name = "ssl_session_timeout",
     .where = Where,
     .args = {1, 1},
     .initial = "5m",
     .set = set_session_timeout,
     .doc = "How long a session may be resumed."},
    {.name = "ssl_session_tickets",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "on",
     .set = set_flag,
     .doc = "Sessions may live in tickets that clients keep."},
    {.name = "ssl_session_ticket_key",
     .where = Where,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .merge = conf::Merge::replace_list,
     .set = set_ticket_key,
     .doc = "File with 48 or 80 bytes: seals tickets (the first) or opens them."},
    {.name = "ssl_client_certificate",
     .where = Where,
     .args = {1, 1},
     .set = set_file,
     .doc = "CAs of client certificates; their names are sent to clients."},
    {.name = "ssl_trusted_certificate",
     .where = Where,
     .args = {1, 1},
     .set = set_file,
     .doc = "CAs of client certificates and OCSP responses; their names are not sent."},
    {.name = "ssl_verify_client",
     .where = Where,
     .args = {1, 1},
     .initial = "off",
     .set = set_verify_client,
     .doc = "Whether clients need a certificate."},
    {.name = "ssl_verify_depth",
     .where = Where,
     .args = {1, 1},
     .initial = "1",
     .set = set_verify_depth,
     .doc = "Longest chain of client certificates."},
    {.name = "ssl_crl",
     .where = Where,
     .args = {1, 1},
     .set = set_file,
     .doc = "File with revoked certificates."},
    {.name = "ssl_stapling",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = set_flag,
     .doc = "Sends the OCSP response of its certificate along."},
    {.name = "ssl_stapling_file",
     .where = Where,
     .args = {1, 1},
     .set = set_file,
     .doc = "That response, from a file (DER)."},
    {.name = "ssl_stapling_responder",
     .where = Where,
     .args = {1, 1},
     .set = set_text,
     .doc = "URL of the OCSP responder, instead of the certificate's."},
    {.name = "ssl_stapling_verify",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = set_flag,
     .doc = "Check the response before it is sent."},
    {.name = "ssl_ocsp",
     .where = Where,
     .args = {1, 1},
     .initial = "off",
     .set = set_ocsp,
     .doc = "Asks OCSP responders about client certificates."},
    {.name = "ssl_ocsp_cache",
     .where = Where,
     .args = {1, 1},
     .initial = "off",
     .set = set_ocsp_cache,
     .doc = "Remembers their answers."},
    {.name = "ssl_ocsp_responder",
     .where = Where,
     .args = {1, 1},
     .set = set_text,
     .doc = "URL of the responder, instead of the certificate's."},
    {.name = "ssl_reject_handshake",
     .where = Where,
     .args = {1, 1},
     .form = conf::Form::flag,
     .initial = "off",
     .set = set_flag,
     .doc = "Ends handshakes for this server's names."},
    {.name = "ssl_ech_file",
     .where = Where,
     .args = {1, 1},
     .repeat = conf::Repeat::collect,
     .set = set_ech_file,
     .doc = "Checked; this OpenSSL has no encrypted client hello."},
});

}  // namespace weir::shared::ssl
