#include "modules/shared/ssl_variables.h"

#include <cstring>

#include "engine/tls/inspect.h"

namespace weir::shared::ssl {
namespace {

using conf::Value;
using conf::Variable;
using conf::VariableSource;
using tls::Layer;

// A variable's text: `data` of the definition points to one.
struct Source {
  const char* name;
  std::string (*text)(const Layer&);
  bool legacy = false;
};

std::string text_of(std::string_view text) {
  return std::string(text);
}

// Lines after the first begin with a tab, and the last line end is gone.
std::string folded_certificate(const Layer& layer) {
  const std::string text = tls::client_certificate_of(layer);
  std::string out;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    out += text[i];
    if (text[i] == '\n') out += '\t';
  }
  return out;
}

std::string escaped_certificate(const Layer& layer) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : tls::client_certificate_of(layer)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
      continue;
    }
    out += '%';
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

constexpr Source kSources[] = {
    {"ssl_protocol", [](const Layer& layer) { return text_of(tls::protocol_of(layer)); }},
    {"ssl_cipher", [](const Layer& layer) { return text_of(tls::cipher_of(layer)); }},
    {"ssl_ciphers", tls::offered_ciphers_of},
    {"ssl_curve", tls::curve_of},
    {"ssl_curves", tls::offered_curves_of},
    {"ssl_sigalg", tls::signature_algorithm_of},
    {"ssl_sigalgs", tls::offered_signature_algorithms_of},
    {"ssl_session_id", tls::session_id_of},
    {"ssl_session_reused",
     [](const Layer& layer) { return std::string(tls::session_reused(layer) ? "r" : "."); }},
    {"ssl_server_name", [](const Layer& layer) { return text_of(tls::server_name_of(layer)); }},
    {"ssl_alpn_protocol", [](const Layer& layer) { return text_of(layer.alpn()); }},
    {"ssl_ech_status", [](const Layer&) { return std::string(); }},
    {"ssl_ech_outer_server_name", [](const Layer&) { return std::string(); }},
    {"ssl_client_cert", folded_certificate},
    {"ssl_client_raw_cert", tls::client_certificate_of},
    {"ssl_client_escaped_cert", escaped_certificate},
    {"ssl_client_s_dn", tls::client_subject_of},
    {"ssl_client_i_dn", tls::client_issuer_of},
    {"ssl_client_s_dn_legacy", tls::client_subject_legacy_of, true},
    {"ssl_client_i_dn_legacy", tls::client_issuer_legacy_of, true},
    {"ssl_client_serial", tls::client_serial_of},
    {"ssl_client_fingerprint", tls::client_fingerprint_of},
    {"ssl_client_verify", tls::client_verification_of},
    {"ssl_client_v_start", tls::client_valid_from_of},
    {"ssl_client_v_end", tls::client_valid_until_of},
    {"ssl_client_v_remain", tls::client_days_left_of},
    {"ssl_client_sigalg", tls::client_signature_algorithm_of},
};

}  // namespace

Value value_of(VariableSource& source, const Layer* layer, uintptr_t data) {
  if (!layer) return Value::none();
  const std::string text = reinterpret_cast<const Source*>(data)->text(*layer);
  if (text.empty()) return Value::none();
  char* copy = source.allocate(text.size());
  std::memcpy(copy, text.data(), text.size());
  return Value::of({copy, text.size()});
}

void define_with(conf::VariableTable& variables, conf::VariableGet get, bool legacy) {
  for (const Source& source : kSources) {
    if (source.legacy && !legacy) continue;
    Variable variable;
    variable.name = source.name;
    variable.get = get;
    variable.data = reinterpret_cast<uintptr_t>(&source);
    variable.changeable = true;
    variables.define(std::move(variable));
  }
}

}  // namespace weir::shared::ssl
