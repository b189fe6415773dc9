#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::tls {

class Layer;
class ServerLayer;

// What the $ssl_* variables tell of a connection. Texts are made when somebody asks; empty where
// there is nothing (a variable that is not found). Names are those of nginx's variables.
std::string_view protocol_of(const Layer& layer);    // "TLSv1.3"
std::string_view cipher_of(const Layer& layer);      // "TLS_AES_256_GCM_SHA384"
std::string offered_ciphers_of(const Layer& layer);  // "AES128-SHA:0x00ff"
std::string curve_of(const Layer& layer);            // "x25519", "0x001d"
std::string offered_curves_of(const Layer& layer);
std::string session_id_of(const Layer& layer);  // hexadecimal
bool session_reused(const Layer& layer);
std::string_view server_name_of(const Layer& layer);  // SNI
std::string_view alpn_protocol_of(const Layer& layer);
std::string signature_algorithm_of(const Layer& layer);
std::string client_signature_algorithm_of(const Layer& layer);
std::string offered_signature_algorithms_of(const Layer& layer);
// The client's certificate.
bool has_client_certificate(const Layer& layer);
std::string client_certificate_of(const Layer& layer);  // PEM
std::string client_subject_of(const Layer& layer);      // RFC 2253
std::string client_issuer_of(const Layer& layer);
std::string client_subject_legacy_of(const Layer& layer);  // "/CN=…"
std::string client_issuer_legacy_of(const Layer& layer);
std::string client_serial_of(const Layer& layer);
std::string client_fingerprint_of(const Layer& layer);  // SHA-1
std::string client_valid_from_of(const Layer& layer);
std::string client_valid_until_of(const Layer& layer);
std::string client_days_left_of(const Layer& layer);
// "SUCCESS", "NONE", "FAILED:certificate has expired".
std::string client_verification_of(const Layer& layer);
// As the handshake left it: X509_V_OK is 0.
long verification_result(const Layer& layer);
const char* verification_text(long result);
// Its session, if it is kept, is not resumed.
void forget_session(const ServerLayer& layer);
// May the request of an `optional_no_ca` server go on with this result?
bool is_missing_issuer(long result);

}  // namespace weir::tls
