#include <cctype>

#include "engine/tls/client_ocsp.h"
#include "engine/tls/context_data.h"
#include "engine/tls/credential_cache.h"
#include "engine/tls/error.h"
#include "engine/tls/layer.h"
#include "engine/tls/native.h"

namespace weir::tls {
namespace {

constexpr size_t kEarlyRead = 16 * 1024;

// The host name of the hello's server_name extension, lower case; empty when there is none.
std::string server_name_of_hello(SSL* connection) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(connection, TLSEXT_TYPE_server_name, &data, &size) == 0) return {};
  // A list with its length; one entry: type, length, name (RFC 6066, section 3).
  if (size < 5 || data[2] != TLSEXT_NAMETYPE_host_name) return {};
  const size_t length = static_cast<size_t>(data[3]) << 8 | data[4];
  if (length > size - 5 || length > TLSEXT_MAXLEN_host_name) return {};
  std::string name(reinterpret_cast<const char*>(data) + 5, length);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::vector<X509Pointer> copy_of(const STACK_OF(X509) * certificates) {
  std::vector<X509Pointer> chain;
  for (int i = 0; i < sk_X509_num(certificates); ++i) {
    X509* each = sk_X509_value(certificates, i);
    X509_up_ref(each);
    chain.emplace_back(each);
  }
  return chain;
}

// The client's, leaf first; a resumed session has none, and it is built again. Empty: it is not to
// be trusted any more.
std::vector<X509Pointer> verified_chain(SSL* connection, SSL_CTX* context, X509* leaf) {
  if (const auto* known = SSL_get0_verified_chain(connection)) return copy_of(known);
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> build(X509_STORE_CTX_new());
  if (!build ||
      X509_STORE_CTX_init(build.get(), SSL_CTX_get_cert_store(context), leaf,
                          SSL_get_peer_cert_chain(connection)) != 1 ||
      X509_verify_cert(build.get()) != 1) {
    return {};
  }
  return copy_of(X509_STORE_CTX_get0_chain(build.get()));
}

// What a change of context leaves behind in the connection.
void take_over(SSL* connection, SSL_CTX* context) {
  SSL_set_SSL_CTX(connection, context);
  SSL_set_verify(connection, SSL_CTX_get_verify_mode(context),
                 SSL_CTX_get_verify_callback(context));
  SSL_set_verify_depth(connection, SSL_CTX_get_verify_depth(context));
  SSL_clear_options(connection, SSL_get_options(connection) & ~SSL_CTX_get_options(context));
  SSL_set_options(connection, SSL_CTX_get_options(context));
  SSL_set_min_proto_version(connection, static_cast<int>(SSL_CTX_get_min_proto_version(context)));
  SSL_set_max_proto_version(connection, static_cast<int>(SSL_CTX_get_max_proto_version(context)));
}

}  // namespace

ServerLayer::ServerLayer(std::shared_ptr<const ServerContext> context, ServerUser& user)
    : Layer(context->native()),
      first_context_(context),
      context_(std::move(context)),
      user_(&user) {
  if (!native_) {
    fail(Severity::alert, "SSL_new() failed" + take_errors());
    return;
  }
  SSL_set_accept_state(native_);
  set_buffer_size(context_->options().buffer_size);
  accepts_early_ = context_->options().early_data;
  if (accepts_early_) step_call_ = "SSL_read_early_data()";
}

ServerLayer::~ServerLayer() = default;

int ServerLayer::client_hello(int* alert) {
  if (!user_) return SSL_CLIENT_HELLO_SUCCESS;
  auto chosen = user_->choose(server_name_of_hello(native_));
  if (chosen && chosen != context_) {
    take_over(native_, chosen->native());
    context_ = std::move(chosen);
    set_buffer_size(context_->options().buffer_size);
  }
  if (!context_->options().reject_handshake) return SSL_CLIENT_HELLO_SUCCESS;
  fail(Severity::info, "handshake rejected");
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  return SSL_CLIENT_HELLO_ERROR;
}

int ServerLayer::step() {
  if (!accepts_early_) return SSL_do_handshake(native_);
  std::string bytes(kEarlyRead, '\0');
  size_t got = 0;
  switch (SSL_read_early_data(native_, bytes.data(), bytes.size(), &got)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
      accepts_early_ = false;
      early_open_ = true;
      bytes.resize(got);
      if (got > 0) set_early(std::move(bytes));
      return 1;
    case SSL_READ_EARLY_DATA_FINISH:
      accepts_early_ = false;
      step_call_ = "SSL_do_handshake()";
      return SSL_do_handshake(native_);
    default:
      return 0;
  }
}

bool ServerLayer::confirm() {
  if (context_->options().ocsp == OcspMode::off) return true;
  if (!ocsp_) {
    const X509Pointer leaf(SSL_get1_peer_certificate(native_));
    if (!leaf || SSL_get_verify_result(native_) != X509_V_OK) return true;
    ERR_clear_error();
    std::vector<X509Pointer> chain = verified_chain(native_, context_->native(), leaf.get());
    if (chain.empty()) {
      fail(Severity::error, "X509_verify_cert() failed" + take_errors());
      return true;
    }
    ocsp_ = std::make_unique<ClientOcsp>(*loop(), *context_, std::move(chain), ocsp_answered, this);
  }
  return ocsp_->advance();
}

void ServerLayer::ocsp_answered(void* self) {
  static_cast<ServerLayer*>(self)->on_readable();
}

const std::string& ServerLayer::ocsp_problem() const {
  static const std::string none;
  return ocsp_ ? ocsp_->problem() : none;
}

bool ServerLayer::in_early_data() const {
  return SSL_is_init_finished(native_) == 0;
}

bool ServerLayer::load(const Credential& credential, const CertificateCache& rules) {
  std::string problem;
  LoadedCredential loaded;
  if (!load_credential(credential, context_->options().password_file, rules, loaded, problem)) {
    fail(Severity::error, std::move(problem));
    return false;
  }
  return use(loaded);
}

}  // namespace weir::tls
