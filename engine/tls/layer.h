#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/net/stream.h"
#include "engine/tls/context.h"
#include "engine/tls/native_connection.h"

struct ssl_st;

namespace weir::tls {

class ClientOcsp;
struct LoadedCredential;

// A certificate with its key, read.
enum class HandshakeState : uint8_t {
  done,
  would_block,  // call again on either of on_readable() and on_writable()
  failed,       // failure() says why; close the stream
};

// TLS on a socket, either role: OpenSSL works on the descriptor itself. Use:
//
//   auto layer = std::make_unique<ClientLayer>(context, parameters);
//   ClientLayer& tls = *layer;
//   stream.set_layer(std::move(layer), handler);
//   switch (tls.handshake(stream.socket())) …       again on each on_readable() and on_writable()
//
// and, once done, the Stream as any other. Before, read() and write() say would_block.
// Renegotiation is refused. read() gives `end` for close_notify, and, as nginx does, for a plain
// end of stream (failure() stays empty, closed_cleanly() tells them apart). Idle it holds no
// buffers.
class Layer : public net::Layer {
 public:
  ~Layer() override;
  HandshakeState handshake(Socket& socket);
  // The same connection is another Socket's now (stream's `pass`).
  void move_to(Socket& socket);
  bool handshaken() const { return handshaken_; }
  // Of the last failed handshake, read or write; text empty: none (or a plain errno).
  const net::LayerFailure* failure() const override { return failure_.get(); }
  // The protocol that ALPN settled on: "h2", "http/1.1", …; empty: none.
  std::string_view alpn() const;
  bool closed_cleanly() const;
  // For a call of OpenSSL: valid until the loop runs.
  ssl_st* native() const { return native_; }
  // Of its socket, once the handshake has begun.
  Loop* loop() const { return socket_ ? socket_->loop() : nullptr; }

  Transfer read(Socket& socket, char* to, size_t size) override;
  Transfer peek(Socket& socket, char* to, size_t size) override;
  Transfer write(Socket& socket, const iovec* vectors, size_t count, bool more) override;
  Transfer send_file(Socket& socket, int file, off_t offset, size_t size) override;
  size_t pending() const override;
  bool can_send_file() const override;
  Transfer shutdown(Socket& socket) override;
  void on_readable() override;
  void on_writable() override;

 protected:
  explicit Layer(ssl_ctx_st* context);
  // One step of the handshake: as SSL_do_handshake.
  virtual int step();
  // After the last step: false refuses the connection (failure_ is set).
  virtual bool check_peer() { return true; }
  // After that: false goes on waiting (for OCSP); the user is told when to call again. It may
  // fail() as well.
  virtual bool confirm() { return true; }
  void fail(Severity severity, std::string text, int error_number = 0);
  // Shows this certificate. False: failed.
  bool use(const LoadedCredential& credential);
  void set_buffer_size(size_t size) {
    if (size > 0) buffer_size_ = static_cast<uint32_t>(size);
  }
  void set_early(std::string bytes) { early_ = std::make_unique<std::string>(std::move(bytes)); }

  NativeConnection native_;
  bool accepts_early_ : 1 = false;  // the handshake may bring early data
  bool early_open_ : 1 = false;     // which goes on
  const char* step_call_ = "SSL_do_handshake()";

 private:
  void bind(Socket& socket);
  HandshakeState finish_handshake();
  Transfer take_early(char* to, size_t size);
  Transfer read_record(Socket& socket, char* to, size_t size);
  Transfer blocked_or_failed(Socket& socket, int result, bool writing, const char* call);
  Severity peers_severity() const;
  void log_failure(const char* call, int code, int error_number);
  // What OpenSSL wrote, gathered in `records`: to the socket. What does not go is kept.
  Transfer push(Socket& socket, std::string& records);
  Transfer push_kept(Socket& socket);
  bool encrypt(Socket& socket, const char* data, size_t size, int& result);

  Socket* socket_ = nullptr;  // once the handshake has begun
  std::unique_ptr<net::LayerFailure> failure_;
  std::unique_ptr<std::string> early_;   // early data, not read yet
  std::unique_ptr<std::string> unsent_;  // encrypted, not sent yet
  size_t sealed_ = 0;                    // bytes of the user that are in unsent_
  uint32_t buffer_size_ = 16 * 1024;
  size_t retried_ = 0;              // of a write that the kernel's TLS must see again
  bool on_descriptor_ : 1 = false;  // OpenSSL holds the descriptor itself (kernel TLS)
  bool handshaken_ : 1 = false;
  bool confirming_ : 1 = false;
  bool failed_ : 1 = false;
  bool ended_ : 1 = false;
  bool holds_more_ : 1 = false;  // OpenSSL may have more than the last read took
  bool read_wants_room_ : 1 = false;
};

// Who accepted a TLS connection and chooses for it. Called from inside handshake().
class ServerUser {
 public:
  // The client's hello is there. `server_name` is SNI as it came, lower case, empty when there is
  // none. The context to go on with; null: goes on with the one it began with. One whose options
  // reject the handshake ends it (alert unrecognized_name).
  virtual std::shared_ptr<const ServerContext> choose(std::string_view server_name) = 0;
  // Protocols in order of preference, each with its length ahead ("\2h2\10http/1.1"); empty: ALPN
  // is not answered. Nothing in common ends the handshake (alert no_application_protocol).
  virtual std::string_view alpn_protocols() = 0;
  // The chosen context has credentials with variables: evaluates and loads them
  // (late_credentials.h). False: the handshake fails.
  virtual bool load_credentials() { return false; }

 protected:
  ~ServerUser() = default;
};

class ServerLayer final : public Layer {
 public:
  // `user` outlives the handshake and is not asked afterwards.
  ServerLayer(std::shared_ptr<const ServerContext> context, ServerUser& user);
  ~ServerLayer() override;
  // The one chosen.
  const ServerContext& context() const { return *context_; }
  const std::shared_ptr<const ServerContext>& shared_context() const { return context_; }
  // The one it began with, to whose sessions and tickets it belongs.
  const ServerContext& first_context() const { return *first_context_; }
  // For load_credentials() (late_credentials.h): loads it (credential_cache.h) and uses it. False:
  // failure() says why.
  bool load(const Credential& credential, const CertificateCache& rules);
  // ssl_ocsp: what it found wrong with the client's certificate; empty: nothing.
  const std::string& ocsp_problem() const;
  // The request that is read now may be a replay: $ssl_early_data, 425.
  bool in_early_data() const;
  void handshake_over() { user_ = nullptr; }

  // For OpenSSL's callbacks.
  int client_hello(int* alert);
  ServerUser* user() const { return user_; }

 private:
  int step() override;
  bool confirm() override;
  static void ocsp_answered(void* self);
  std::unique_ptr<ClientOcsp> ocsp_;
  std::shared_ptr<const ServerContext> first_context_;
  std::shared_ptr<const ServerContext> context_;
  ServerUser* user_;
};

struct ClientParameters {
  ClientParameters() = default;
  std::string server_name;  // SNI (proxy_ssl_server_name on); empty, or an address: none is sent
  std::string verify_name;  // with the context's verify: what the certificate must be for
  std::string alpn;         // "\2h2\10http/1.1"; empty: none
  // Whose sessions may be resumed: the peer's address, as text. The context and the names above
  // are part of the key already. Empty: none.
  std::string peer;
  // proxy_ssl_certificate with variables, loaded (credential_cache.h). Null: the context's.
  const LoadedCredential* credential = nullptr;
};

// Bytes that came unencrypted are never taken for the peer's: what is in the socket before the
// handshake begins fails it as any other garbage.
class ClientLayer final : public Layer {
 public:
  ClientLayer(std::shared_ptr<const ClientContext> context, const ClientParameters& parameters);
  ~ClientLayer() override;
  const ClientContext& context() const { return *context_; }

 private:
  friend struct ClientSessions;
  bool check_peer() override;
  std::shared_ptr<const ClientContext> context_;
  std::string verify_name_;
  std::string session_key_;
};

}  // namespace weir::tls
