#include "modules/shared/upstream_tls.h"

#include <cerrno>
#include <cstring>
#include <unordered_map>

#include "confparse/advice.h"

namespace weir {
namespace {

// A certificate's or key's name: files are from the folder of the configuration; which they are,
// with variables, is known later.
conf::Template read_file_name(conf::Compiler& compiler, const conf::Statement& at,
                              UpstreamTlsSettings& settings) {
  settings.folder = compiler.full_path("x", true);
  settings.folder.pop_back();
  const std::string_view text = at.argument(0);
  if (text.empty() || text.starts_with("data:") || text.find('$') != std::string_view::npos) {
    return compiler.make_template(at, at.words[1]);
  }
  return compiler.make_template(at, at.words[1], compiler.full_path(text, true));
}

// Contexts of this configuration by what they were made of, so that thousands of locations with
// the same settings cost one look at the files.
class ClientContexts final : public conf::CompilerState {
 public:
  struct Entry {
    std::shared_ptr<const tls::ClientContext> context;
    tls::Problems problems;
  };
  std::unordered_map<std::string, Entry> made;
};

void add_part(std::string& key, std::string_view part) {
  key += std::to_string(part.size());
  key += ':';
  key += part;
}

std::string key_of(const tls::ClientOptions& options) {
  std::string key = std::to_string(options.protocols) + (options.verify ? "v" : "-") +
                    (options.session_reuse ? "r" : "-") + std::to_string(options.verify_depth);
  add_part(key, options.ciphers);
  add_part(key, options.password_file);
  add_part(key, options.trusted_certificate);
  add_part(key, options.crl);
  for (const auto& [name, value] : options.commands) {
    add_part(key, name);
    add_part(key, value);
  }
  key += '/';
  for (const tls::Credential& credential : options.credentials) {
    add_part(key, credential.certificate);
    add_part(key, credential.key);
  }
  return key;
}

tls::ClientOptions options_of(conf::Compiler& compiler, const UpstreamTlsSettings& settings) {
  const auto full = [&compiler](const std::string& path) {
    return path.empty() ? path : compiler.full_path(path, true);
  };
  tls::ClientOptions options;
  options.protocols = settings.protocols.bits;
  options.ciphers = settings.ciphers;
  options.commands = settings.commands;
  options.password_file = full(settings.password_file);
  options.verify = settings.verify;
  options.verify_depth = settings.verify_depth.value;
  if (settings.verify) {
    options.trusted_certificate = full(settings.trusted_certificate);
    options.crl = full(settings.crl);
  }
  options.session_reuse = settings.session_reuse;
  if (!settings.certificate.empty() && !settings.late_certificate()) {
    options.credentials.push_back(tls::Credential{settings.certificate.literal_text(),
                                                  settings.certificate_key.literal_text()});
  }
  return options;
}

}  // namespace

namespace upstream_tls_rows {

void read_certificate(Compiler& compiler, const Statement& at, UpstreamTlsSettings& settings) {
  settings.certificate = read_file_name(compiler, at, settings);
  settings.certificate_written = at.argument(0);
}

void read_certificate_key(Compiler& compiler, const Statement& at, UpstreamTlsSettings& settings) {
  settings.certificate_key = read_file_name(compiler, at, settings);
  settings.has_certificate_key = true;
}

void read_password_file(Compiler& compiler, const Statement& at, UpstreamTlsSettings& settings) {
  const std::string path = compiler.full_path(at.argument(0), true);
  const auto file = compiler.world().read_file(path);
  if (!file.ok()) {
    // A folder can be opened; that is where nginx gets.
    const std::string call = file.error == EISDIR ? "read() \"" : "open() \"";
    return compiler.error(at,
                          call + path + "\" failed (" + std::to_string(file.error) + ": " +
                              std::strerror(file.error) + ")",
                          {}, &at.words[1]);
  }
  settings.password_file = at.argument(0);
}

void read_certificate_cache(Compiler& compiler, const Statement& at,
                            UpstreamTlsSettings& settings) {
  tls::CertificateCache cache;
  bool off = false;
  for (const conf::Word& word : at.words.subspan(1)) {
    const std::string_view text = word.text;
    if (text.starts_with("max=")) {
      cache.most = static_cast<size_t>(conf::parse_number(text.substr(4)).value_or(0));
      if (cache.most > 0) continue;
    } else if (text.starts_with("inactive=")) {
      if (const auto seconds = conf::parse_seconds(text.substr(9))) {
        cache.inactive = *seconds;
        continue;
      }
    } else if (text.starts_with("valid=")) {
      if (const auto seconds = conf::parse_seconds(text.substr(6))) {
        cache.valid = *seconds;
        continue;
      }
    } else if (text == "off") {
      off = true;
      continue;
    }
    return compiler.invalid_parameter(at, word);
  }
  if (!off && cache.most == 0) {
    return compiler.error(at, "\"" + std::string(at.name()) + "\" must have the \"max\" parameter");
  }
  settings.cache = off ? tls::CertificateCache() : cache;
}

}  // namespace upstream_tls_rows

std::shared_ptr<const tls::ClientContext> make_client_context(conf::Compiler& compiler,
                                                              const UpstreamTlsSettings& settings,
                                                              std::string_view prefix) {
  const std::string directive = std::string(prefix) + "ssl_";
  if (!settings.certificate.empty() && !settings.has_certificate_key) {
    compiler.error_without_place(
        "no \"" + directive + "certificate_key\" is defined for certificate \"" +
            settings.certificate_written + "\"",
        Severity::emerg, "a certificate is shown with its key: name the key's file");
    return nullptr;
  }
  if (settings.verify && settings.trusted_certificate.empty()) {
    compiler.error_without_place(
        "no " + directive + "trusted_certificate for " + directive + "verify", Severity::emerg,
        "the server's certificate is judged by those of a CA: name its file, "
        "such as /etc/ssl/certs/ca-certificates.crt");
    return nullptr;
  }
  const tls::ClientOptions options = options_of(compiler, settings);
  auto& made = compiler.state<ClientContexts>().made;
  const auto [entry, fresh] = made.try_emplace(key_of(options));
  if (fresh) {
    entry->second.context =
        tls::ClientContext::make(compiler.world(), options, entry->second.problems);
  }
  for (const tls::Problem& problem : entry->second.problems) {
    if (fresh)
      compiler.error_without_place(problem.text, problem.severity,
                                   conf::explain_message(problem.text));
  }
  return entry->second.context;
}

}  // namespace weir
