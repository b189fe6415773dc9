#include "modules/shared/ssl.h"

#include <algorithm>
#include <utility>

#include "confparse/advice.h"
#include "confparse/value.h"
#include "engine/log/error_log.h"
#include "engine/tls/material_checks.h"
#include "engine/zone/registry.h"

namespace weir::shared::ssl {
namespace {

using conf::quoted;
using conf::Template;
using conf::Word;
using tls::ServerOptions;
using tls::ServerSettings;

constexpr size_t kLeastZone = zone::kSmallestZone;

constexpr std::pair<std::string_view, std::string ServerOptions::*> kTexts[] = {
    {"ssl_ciphers", &ServerOptions::ciphers},
    {"ssl_ecdh_curve", &ServerOptions::curves},
    {"ssl_dhparam", &ServerOptions::dhparam},
    {"ssl_client_certificate", &ServerOptions::client_certificate},
    {"ssl_trusted_certificate", &ServerOptions::trusted_certificate},
    {"ssl_crl", &ServerOptions::crl},
    {"ssl_stapling_file", &ServerOptions::stapling_file},
    {"ssl_stapling_responder", &ServerOptions::stapling_responder},
    {"ssl_ocsp_responder", &ServerOptions::ocsp_responder},
};

constexpr std::pair<std::string_view, bool ServerOptions::*> kFlags[] = {
    {"ssl_prefer_server_ciphers", &ServerOptions::prefer_server_ciphers},
    {"ssl_session_tickets", &ServerOptions::tickets},
    {"ssl_stapling", &ServerOptions::stapling},
    {"ssl_stapling_verify", &ServerOptions::stapling_verify},
    {"ssl_reject_handshake", &ServerOptions::reject_handshake},
    {"ssl_early_data", &ServerOptions::early_data},
    {"ssl_certificate_compression", &ServerOptions::certificate_compression},
};

ServerOptions& options_of(Scope& scope) {
  return scope.write<ServerSettings>().options;
}

constexpr std::pair<std::string_view, tls::Protocol> kProtocols[] = {
    {"SSLv2", tls::Protocol::sslv2},     {"SSLv3", tls::Protocol::sslv3},
    {"TLSv1", tls::Protocol::tlsv1},     {"TLSv1.1", tls::Protocol::tlsv1_1},
    {"TLSv1.2", tls::Protocol::tlsv1_2}, {"TLSv1.3", tls::Protocol::tlsv1_3},
};

// http's zones are not stream's; the number is that of the structs in them.
std::string zone_kind(const Scope& scope, std::string_view what) {
  const bool stream = (scope.context() & (conf::kStream | conf::kStreamServer)) != 0;
  return std::string(stream ? "stream " : "http ") + std::string(what) + " 1";
}

void add_name(Compiler& compiler, const Statement& statement, std::vector<Template>& list) {
  Template name = compiler.make_template(statement, statement.words[1]);
  list.push_back(std::move(name));
}

// A literal file name from the configuration's folder; "data:…" as it is.
std::string whole_name(const Compiler& compiler, const std::string& name) {
  return name.starts_with("data:") ? name : compiler.full_path(name, true);
}

}  // namespace

bool read_alpn(Compiler& compiler, const Statement& statement, std::string& protocols) {
  for (const Word& word : statement.words.subspan(1)) {
    if (word.text.size() > 255) {
      compiler.error(statement, "protocol too long", {}, &word);
      return false;
    }
    protocols += static_cast<char>(word.text.size());
    protocols += word.text;
  }
  return true;
}

void set_certificate(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<ServerSettings>();
  if (compiler.first_use(scope)) settings.certificates.clear();
  add_name(compiler, statement, settings.certificates);
}

void set_certificate_key(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<ServerSettings>();
  if (compiler.first_use(scope)) settings.keys.clear();
  add_name(compiler, statement, settings.keys);
}

void set_password_file(Compiler& compiler, Scope& scope, const Statement& statement) {
  const std::string path = compiler.full_path(statement.argument(0), true);
  if (const int error = tls::check_passwords(compiler.world(), path)) {
    compiler.error(statement, "open() " + quoted(path) + " failed" + error_number_text(error), {},
                   &statement.words[1]);
    return;
  }
  options_of(scope).password_file = path;
}

void set_protocols(Compiler& compiler, Scope& scope, const Statement& statement) {
  uint32_t bits = compiler.first_use(scope) ? 0 : options_of(scope).protocols;
  for (const Word& word : statement.words.subspan(1)) {
    const auto* found = std::find_if(
        std::begin(kProtocols), std::end(kProtocols),
        [&](const auto& known) { return conf::equal_without_case(known.first, word.text); });
    if (found == std::end(kProtocols)) {
      compiler.invalid_value(
          statement, word,
          conf::explain_choice(word.text, {"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}));
      return;
    }
    const auto bit = static_cast<uint32_t>(found->second);
    if ((bits & bit) != 0) {
      compiler.warn(statement, "duplicate value " + quoted(word.text), {}, &word);
    }
    bits |= bit;
  }
  options_of(scope).protocols = bits;
}

void set_text(Compiler&, Scope& scope, const Statement& statement) {
  for (const auto& [name, member] : kTexts) {
    if (name == statement.name()) options_of(scope).*member = statement.argument(0);
  }
}

void set_file(Compiler& compiler, Scope& scope, const Statement& statement) {
  for (const auto& [name, member] : kTexts) {
    if (name != statement.name()) continue;
    const std::string_view text = statement.argument(0);
    options_of(scope).*member = text.empty() ? std::string() : compiler.full_path(text, true);
  }
}

void set_flag(Compiler& compiler, Scope& scope, const Statement& statement) {
  bool flag = false;
  if (!conf::read_setting(compiler, scope, statement, flag)) return;
  for (const auto& [name, member] : kFlags) {
    if (name == statement.name()) options_of(scope).*member = flag;
  }
}

void set_command(Compiler& compiler, Scope& scope, const Statement& statement) {
  tls::Commands& commands = options_of(scope).commands;
  if (compiler.first_use(scope)) commands.clear();
  std::string value(statement.argument(1));
  if (tls::takes_file(statement.argument(0))) value = compiler.full_path(value, true);
  commands.emplace_back(statement.argument(0), std::move(value));
}

void set_verify_client(Compiler& compiler, Scope& scope, const Statement& statement) {
  using tls::ClientVerification;
  constexpr std::pair<std::string_view, ClientVerification> kWords[] = {
      {"off", ClientVerification::off},
      {"on", ClientVerification::on},
      {"optional", ClientVerification::optional},
      {"optional_no_ca", ClientVerification::optional_no_ca}};
  for (const auto& [word, value] : kWords) {
    if (!conf::equal_without_case(word, statement.argument(0))) continue;
    options_of(scope).verify = value;
    return;
  }
  compiler.invalid_value(statement, statement.words[1],
                         "it must be \"off\", \"on\", \"optional\" or \"optional_no_ca\"");
}

void set_verify_depth(Compiler& compiler, Scope& scope, const Statement& statement) {
  conf::Number depth;
  if (conf::read_setting(compiler, scope, statement, depth)) {
    options_of(scope).verify_depth = std::min<int64_t>(depth.value, 1 << 20);
  }
}

void set_session_timeout(Compiler& compiler, Scope& scope, const Statement& statement) {
  conf::Seconds seconds;
  if (conf::read_setting(compiler, scope, statement, seconds)) {
    options_of(scope).session_timeout = seconds.value;
  }
}

void set_session_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  using Kind = tls::SessionCacheOptions::Kind;
  tls::SessionCacheOptions cache;
  const auto invalid = [&](const Word& word) {
    compiler.error(statement, "invalid session cache " + quoted(word.text),
                   "off, none, builtin[:sessions] or shared:name:size", &word);
  };
  for (const Word& word : statement.words.subspan(1)) {
    const std::string_view text = word.text;
    if (text == "off") {
      cache.kind = Kind::off;
    } else if (text == "none") {
      cache.kind = Kind::none;
    } else if (text == "builtin") {
      cache.kind = cache.kind == Kind::shared ? Kind::shared : Kind::builtin;
      cache.builtin = true;
      cache.builtin_size = -1;
    } else if (text.starts_with("builtin:")) {
      const auto number = conf::parse_number(text.substr(8));
      if (!number) return invalid(word);
      cache.kind = cache.kind == Kind::shared ? Kind::shared : Kind::builtin;
      cache.builtin = true;
      cache.builtin_size = *number;
    } else if (text.starts_with("shared:")) {
      const std::string_view rest = text.substr(7);
      const size_t colon = rest.find(':');
      if (colon == std::string_view::npos || colon == 0) return invalid(word);
      const auto size = conf::parse_size(rest.substr(colon + 1));
      if (!size) return invalid(word);
      if (*size < kLeastZone) {
        compiler.error(statement, "session cache " + quoted(text) + " is too small",
                       "32k at least; a megabyte holds about 4000 sessions", &word);
        return;
      }
      cache.kind = Kind::shared;
      cache.zone = rest.substr(0, colon);
      cache.zone_size = *size;
      cache.memory = zone::registry(compiler).declare(compiler, statement, cache.zone, *size,
                                                      zone_kind(scope, "ssl_session"));
      if (!cache.memory) return;
    } else {
      return invalid(word);
    }
  }
  options_of(scope).session_cache = cache;
}

void set_ticket_key(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& keys = options_of(scope).ticket_keys;
  if (compiler.first_use(scope)) keys.clear();
  keys.push_back(compiler.full_path(statement.argument(0), true));
}

void set_ocsp(Compiler& compiler, Scope& scope, const Statement& statement) {
  constexpr std::pair<std::string_view, tls::OcspMode> kWords[] = {
      {"off", tls::OcspMode::off}, {"on", tls::OcspMode::on}, {"leaf", tls::OcspMode::leaf}};
  for (const auto& [word, value] : kWords) {
    if (!conf::equal_without_case(word, statement.argument(0))) continue;
    options_of(scope).ocsp = value;
    return;
  }
  compiler.invalid_value(statement, statement.words[1], "it must be \"off\", \"on\" or \"leaf\"");
}

void set_ocsp_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  const std::string_view text = statement.argument(0);
  auto& options = options_of(scope);
  if (text == "off") {
    options.ocsp_cache.reset();
    return;
  }
  const std::string_view rest = text.starts_with("shared:") ? text.substr(7) : std::string_view();
  const size_t colon = rest.find(':');
  const auto size = colon == std::string_view::npos || colon == 0
                        ? std::nullopt
                        : conf::parse_size(rest.substr(colon + 1));
  if (!size) {
    compiler.error(statement, "invalid OCSP cache " + quoted(text), "off or shared:name:size",
                   &statement.words[1]);
    return;
  }
  if (*size < kLeastZone) {
    compiler.error(statement, "OCSP cache " + quoted(text) + " is too small", "32k at least",
                   &statement.words[1]);
    return;
  }
  options.ocsp_cache = zone::registry(compiler).declare(compiler, statement, rest.substr(0, colon),
                                                        *size, zone_kind(scope, "ssl_ocsp"));
}

void set_certificate_cache(Compiler& compiler, Scope& scope, const Statement& statement) {
  tls::CertificateCache cache;
  for (const Word& word : statement.words.subspan(1)) {
    const std::string_view text = word.text;
    if (text == "off") {
      cache.most = 0;
      continue;
    }
    const size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : text.substr(equals + 1);
    if (name == "max") {
      const auto number = conf::parse_number(value);
      if (number && *number > 0) {
        cache.most = static_cast<size_t>(*number);
        continue;
      }
    } else if (name == "inactive" || name == "valid") {
      if (const auto seconds = conf::parse_seconds(value)) {
        (name == "inactive" ? cache.inactive : cache.valid) = *seconds;
        continue;
      }
    }
    compiler.invalid_parameter(statement, word);
    return;
  }
  if (cache.most == 0 && statement.argument(0) != "off") {
    compiler.error(statement, "\"ssl_certificate_cache\" must have the \"max\" parameter");
    return;
  }
  scope.write<ServerSettings>().cache = cache;
}

void set_ech_file(Compiler&, Scope& scope, const Statement& statement) {
  options_of(scope).ech_files.emplace_back(statement.argument(0));
}

namespace {

// An error with the place of the block's end.
void error_at_end(Compiler& compiler, std::string text) {
  static const Word word{"http", {}, 0};
  Statement closing;
  closing.words = {&word, 1};
  closing.terminator = compiler.root_block().close;
  std::string help = conf::explain_message(text);
  compiler.error(closing, std::move(text), std::move(help));
}

// Pairs certificates with keys; those with variables wait for a connection. False: reported.
bool pair_credentials(Compiler& compiler, ServerSettings& settings) {
  settings.options.credentials.clear();
  settings.options.late_credentials = false;
  for (size_t i = 0; i < settings.certificates.size(); ++i) {
    if (i >= settings.keys.size()) {
      compiler.error_without_place(
          "no \"ssl_certificate_key\" is defined for certificate " +
              quoted(settings
                         .certificates[settings.keys.empty() ? settings.certificates.size() - 1 : i]
                         .source()),
          Severity::emerg,
          "every ssl_certificate needs its ssl_certificate_key, in the same order");
      return false;
    }
    if (!settings.certificates[i].is_literal() || !settings.keys[i].is_literal()) {
      settings.options.late_credentials = true;
    }
  }
  if (settings.options.late_credentials) return true;
  for (size_t i = 0; i < settings.certificates.size(); ++i) {
    settings.options.credentials.push_back(
        {whole_name(compiler, settings.certificates[i].literal_text()),
         whole_name(compiler, settings.keys[i].literal_text())});
  }
  return true;
}

}  // namespace

void finish_server(Compiler& compiler, Scope& scope, std::string_view id_context) {
  const auto& read = scope.get<ServerSettings>();
  if (read.certificates.empty() && !read.options.reject_handshake) return;
  auto& settings = scope.write<ServerSettings>();
  settings.context.reset();
  if (!pair_credentials(compiler, settings)) return;
  settings.folder = compiler.full_path("x", true);
  settings.folder.pop_back();
  ServerOptions& options = settings.options;
  options.id_context = id_context;
  const bool needs_ca = options.verify == tls::ClientVerification::on ||
                        options.verify == tls::ClientVerification::optional;
  if (needs_ca && options.client_certificate.empty() && options.trusted_certificate.empty()) {
    compiler.error_without_place(
        "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
        Severity::emerg,
        "clients' certificates are judged by those of a CA: name its file in "
        "ssl_client_certificate");
    return;
  }
  if (options.ocsp != tls::OcspMode::off &&
      options.verify == tls::ClientVerification::optional_no_ca) {
    compiler.error_without_place(
        "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"");
    return;
  }
  tls::Problems problems;
  settings.context = tls::ServerContext::make(compiler.world(), options, problems);
  for (tls::Problem& problem : problems) {
    if (problem.placed) {
      error_at_end(compiler, std::move(problem.text));
      continue;
    }
    std::string help = conf::explain_message(problem.text);
    compiler.error_without_place(std::move(problem.text), problem.severity, std::move(help));
  }
}

}  // namespace weir::shared::ssl
