#include "engine/tls/layer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/tls/context_data.h"
#include "engine/tls/credential_cache.h"
#include "engine/tls/error.h"
#include "engine/tls/files.h"
#include "engine/tls/material.h"
#include "engine/tls/socket_bio.h"

namespace weir::tls {
namespace {

constexpr size_t kLargestRecord = SSL3_RT_MAX_PLAIN_LENGTH;
// Plain bytes that are encrypted before the socket is asked to take them.
constexpr size_t kRecordsInARow = 4;

// The reasons that are a client's fault: logged at info, as nginx does.
bool is_peers_fault(int reason) {
  switch (reason) {
    case SSL_R_BAD_CHANGE_CIPHER_SPEC:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_BLOCK_CIPHER_PAD_IS_WRONG:
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_ERROR_IN_RECEIVED_CIPHER_LIST:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_NO_COMPRESSION_SPECIFIED:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_TOO_MANY_WARN_ALERTS:
    case SSL_R_CLIENTHELLO_TLSEXT:
    case SSL_R_PARSE_TLSEXT:
    case SSL_R_CALLBACK_FAILED:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_UNKNOWN_ALERT_TYPE:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_BAD_KEY_SHARE:
    case SSL_R_BAD_EXTENSION:
    case SSL_R_BAD_CIPHER:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_NO_RENEGOTIATION:
    case SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE:
    case SSL_R_SSLV3_ALERT_BAD_RECORD_MAC:
    case SSL_R_TLSV1_ALERT_DECRYPTION_FAILED:
    case SSL_R_TLSV1_ALERT_RECORD_OVERFLOW:
    case SSL_R_SSLV3_ALERT_DECOMPRESSION_FAILURE:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_DECODE_ERROR:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV1_ALERT_EXPORT_RESTRICTION:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
    case SSL_R_TLSV1_ALERT_INTERNAL_ERROR:
    case SSL_R_TLSV1_ALERT_INAPPROPRIATE_FALLBACK:
    case SSL_R_TLSV1_ALERT_USER_CANCELLED:
    case SSL_R_TLSV1_ALERT_NO_RENEGOTIATION:
    case SSL_R_TLSV13_ALERT_MISSING_EXTENSION:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_UNSUPPORTED_EXTENSION:
    case SSL_R_TLSV1_CERTIFICATE_UNOBTAINABLE:
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
    case SSL_R_TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE:
    case SSL_R_TLSV1_BAD_CERTIFICATE_HASH_VALUE:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    case SSL_R_RENEGOTIATE_EXT_TOO_LONG:
    case SSL_R_RENEGOTIATION_ENCODING_ERR:
    case SSL_R_RENEGOTIATION_MISMATCH:
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
    case SSL_R_SCSV_RECEIVED_WHEN_RENEGOTIATING:
    case SSL_R_BAD_LEGACY_VERSION:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_BAD_LENGTH:
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return true;
    default:
      return false;
  }
}

bool is_connection_fault(int error) {
  return error == ECONNRESET || error == EPIPE || error == ENOTCONN || error == ETIMEDOUT ||
         error == ECONNREFUSED || error == ENETDOWN || error == ENETUNREACH || error == EHOSTDOWN ||
         error == EHOSTUNREACH;
}

Transfer would_block() {
  return {Transfer::State::would_block, 0, 0};
}

}  // namespace

Layer::Layer(ssl_ctx_st* context) : native_(context) {
  if (native_) attach(native_, this);
}

Layer::~Layer() {
  if (!native_) return;
  attach(native_, static_cast<Layer*>(nullptr));
  // Without a farewell the session would count as broken and not be resumed.
  if (!failed_) SSL_set_shutdown(native_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void Layer::bind(Socket& socket) {
  socket_ = &socket;
  if ((SSL_get_options(native_) & SSL_OP_ENABLE_KTLS) != 0) {
    on_descriptor_ = true;
    SSL_set_fd(native_, socket.descriptor());
    return;
  }
  BIO* bio = new_socket_bio();
  bind_socket(bio, &socket);
  SSL_set_bio(native_, bio, bio);
}

void Layer::move_to(Socket& socket) {
  if (!socket_) return;
  socket_ = &socket;
  if (!on_descriptor_) bind_socket(SSL_get_rbio(native_), &socket);
}

bool Layer::use(const LoadedCredential& credential) {
  if (SSL_use_certificate(native_, credential.chain->leaf.get()) == 0) {
    fail(Severity::error, "SSL_use_certificate() failed" + take_errors());
    return false;
  }
  SSL_clear_chain_certs(native_);
  for (const X509Pointer& each : credential.chain->rest) SSL_add1_chain_cert(native_, each.get());
  if (SSL_use_PrivateKey(native_, credential.key->key.get()) == 0) {
    fail(Severity::error, "SSL_use_PrivateKey() failed" + take_errors());
    return false;
  }
  return true;
}

void Layer::fail(Severity severity, std::string text, int error_number) {
  failed_ = true;
  failure_ = std::make_unique<net::LayerFailure>();
  failure_->severity = severity;
  failure_->text = std::move(text);
  failure_->error_number = error_number;
}

// A peer's fault is told by nginx's levels: info of clients, error of upstreams.
Severity Layer::peers_severity() const {
  return SSL_is_server(native_) != 0 ? Severity::info : Severity::error;
}

void Layer::log_failure(const char* call, int code, int error_number) {
  Severity severity = Severity::crit;
  if (code == SSL_ERROR_SYSCALL) {
    if (error_number == 0 || is_connection_fault(error_number)) severity = peers_severity();
  } else {
    const unsigned long error = ERR_peek_error();
    const bool ssl = ERR_GET_LIB(error) == ERR_LIB_SSL;
    if (error == 0 || (ssl && is_peers_fault(ERR_GET_REASON(error)))) severity = peers_severity();
  }
  fail(severity, std::string(call) + " failed" + take_errors(), error_number);
}

// --- handshake

int Layer::step() {
  return SSL_do_handshake(native_);
}

HandshakeState Layer::handshake(Socket& socket) {
  if (failed_ || !native_) return HandshakeState::failed;
  if (confirming_) return finish_handshake();
  if (handshaken_) return HandshakeState::done;
  if (!socket_) bind(socket);
  if (unsent_ && push_kept(socket).state == Transfer::State::would_block) {
    return HandshakeState::would_block;
  }
  ERR_clear_error();
  errno = 0;
  std::string& records = Gathering::get().bytes;
  const int result = step();
  const int error = errno;
  const int code = result == 1 ? SSL_ERROR_NONE : SSL_get_error(native_, result);
  const Transfer pushed = push(socket, records);
  if (result == 1) {
    holds_more_ = true;
    handshaken_ = check_peer();
    return handshaken_ ? finish_handshake() : HandshakeState::failed;
  }
  if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE ||
      code == SSL_ERROR_WANT_CLIENT_HELLO_CB) {
    if (pushed.state == Transfer::State::failed) {
      fail(peers_severity(), "SSL_do_handshake() failed", pushed.error);
      return HandshakeState::failed;
    }
    if (on_descriptor_) {
      if (code == SSL_ERROR_WANT_WRITE) {
        socket.saw_full();
      } else {
        socket.saw_drained();
      }
    }
    return HandshakeState::would_block;
  }
  if (failure_) {
    ERR_clear_error();
  } else if (code == SSL_ERROR_ZERO_RETURN || ERR_peek_error() == 0) {
    fail(peers_severity(), "peer closed connection in SSL handshake", error);
  } else {
    log_failure(step_call_, code, code == SSL_ERROR_SYSCALL ? error : 0);
  }
  failed_ = true;
  return HandshakeState::failed;
}

HandshakeState Layer::finish_handshake() {
  confirming_ = !confirm();
  if (failed_) return HandshakeState::failed;
  return confirming_ ? HandshakeState::would_block : HandshakeState::done;
}

// --- reading

Transfer Layer::take_early(char* to, size_t size) {
  const size_t count = std::min(size, early_->size());
  std::memcpy(to, early_->data(), count);
  early_->erase(0, count);
  if (early_->empty()) early_.reset();
  return {Transfer::State::done, count, 0};
}

Transfer Layer::blocked_or_failed(Socket& socket, int result, bool writing, const char* call) {
  const int error = errno;
  const int code = SSL_get_error(native_, result);
  if (code == SSL_ERROR_WANT_READ) {
    if (on_descriptor_) socket.saw_drained();
    return would_block();
  }
  if (code == SSL_ERROR_WANT_WRITE) {
    if (on_descriptor_) socket.saw_full();
    if (!writing) read_wants_room_ = true;
    return would_block();
  }
  if (code == SSL_ERROR_ZERO_RETURN) {
    ended_ = true;
    return {Transfer::State::end, 0, 0};
  }
  if (code == SSL_ERROR_SYSCALL && error == 0 && ERR_peek_error() == 0) {
    ended_ = true;
    return {Transfer::State::end, 0, 0};
  }
  if (code == SSL_ERROR_SYSCALL && is_connection_fault(error)) {
    ERR_clear_error();
    failed_ = true;
    return {Transfer::State::failed, 0, error};
  }
  log_failure(call, code, code == SSL_ERROR_SYSCALL ? error : 0);
  return {Transfer::State::failed, 0, EPROTO};
}

Transfer Layer::read_record(Socket& socket, char* to, size_t size) {
  clear_errors();
  errno = 0;
  size_t got = 0;
  if (early_open_) {
    const int state = SSL_read_early_data(native_, to, size, &got);
    if (state == SSL_READ_EARLY_DATA_SUCCESS) return {Transfer::State::done, got, 0};
    if (state == SSL_READ_EARLY_DATA_ERROR) {
      return blocked_or_failed(socket, 0, false, "SSL_read_early_data()");
    }
    early_open_ = false;
    if (got > 0) return {Transfer::State::done, got, 0};
  }
  const int result = SSL_read_ex(native_, to, size, &got);
  if (result == 1) return {Transfer::State::done, got, 0};
  return blocked_or_failed(socket, result, false, "SSL_read()");
}

Transfer Layer::read(Socket& socket, char* to, size_t size) {
  if (early_) return take_early(to, size);
  if (failed_) return {Transfer::State::failed, 0, EPROTO};
  if (ended_) return {Transfer::State::end, 0, 0};
  if (!handshaken_) return would_block();
  size_t total = 0;
  Transfer moved;
  while (total < size) {
    moved = read_record(socket, to + total, size - total);
    if (moved.state != Transfer::State::done) break;
    total += moved.bytes;
    // A record that is not whole yet takes a read from the socket to know.
    if (SSL_pending(native_) == 0 && SSL_has_pending(native_) == 0 && !socket.maybe_readable()) {
      moved = would_block();
      break;
    }
  }
  holds_more_ = moved.state == Transfer::State::done;
  // Key updates and the like may have written.
  std::string& records = Gathering::get().bytes;
  if (!records.empty()) push(socket, records);
  if (total > 0) {
    // What ended the loop is found again by the next read.
    if (moved.state == Transfer::State::end || moved.state == Transfer::State::failed) {
      holds_more_ = true;
    }
    return {Transfer::State::done, total, 0};
  }
  return moved;
}

Transfer Layer::peek(Socket& socket, char* to, size_t size) {
  if (early_) return {Transfer::State::done, std::min(size, early_->size()), 0};
  if (failed_) return {Transfer::State::failed, 0, EPROTO};
  if (ended_) return {Transfer::State::end, 0, 0};
  if (!handshaken_ || early_open_) return would_block();
  ERR_clear_error();
  errno = 0;
  size_t got = 0;
  const int result = SSL_peek_ex(native_, to, size, &got);
  Transfer moved{Transfer::State::done, got, 0};
  if (result == 1) {
    holds_more_ = true;
  } else {
    moved = blocked_or_failed(socket, result, false, "SSL_peek()");
  }
  std::string& records = Gathering::get().bytes;
  if (!records.empty()) push(socket, records);
  return moved;
}

size_t Layer::pending() const {
  if (early_) return early_->size();
  if (!handshaken_ || !holds_more_) return 0;
  if (ended_ || failed_) return 1;
  const auto ready = static_cast<size_t>(SSL_pending(native_));
  return ready > 0 ? ready : static_cast<size_t>(SSL_has_pending(native_));
}

// --- writing

Transfer Layer::push(Socket& socket, std::string& records) {
  if (records.empty()) return {};
  if (unsent_) {
    unsent_->append(records);
    Gathering::get().reset();
    return would_block();
  }
  iovec vector{records.data(), records.size()};
  const Transfer moved = socket.write(&vector, 1, false);
  const size_t sent = moved.state == Transfer::State::done ? moved.bytes : 0;
  Transfer result;
  if (moved.state == Transfer::State::failed) {
    result = moved;
  } else if (sent < records.size()) {
    unsent_ = std::make_unique<std::string>(records, sent);
    result = would_block();
  }
  Gathering::get().reset();
  return result;
}

Transfer Layer::push_kept(Socket& socket) {
  while (unsent_) {
    iovec vector{unsent_->data(), unsent_->size()};
    const Transfer moved = socket.write(&vector, 1, false);
    if (moved.state != Transfer::State::done) return moved;
    unsent_->erase(0, moved.bytes);
    if (unsent_->empty()) unsent_.reset();
  }
  return {};
}

bool Layer::encrypt(Socket& socket, const char* data, size_t size, int& result) {
  (void)socket;
  clear_errors();
  errno = 0;
  size_t put = 0;
  result = early_open_ ? SSL_write_early_data(native_, data, size, &put)
                       : SSL_write_ex(native_, data, size, &put);
  return result == 1 && put == size;
}

Transfer Layer::write(Socket& socket, const iovec* vectors, size_t count, bool more) {
  (void)more;
  if (failed_) return {Transfer::State::failed, 0, EPIPE};
  if (!handshaken_) return would_block();
  const size_t record = std::clamp<size_t>(buffer_size_, 1, kLargestRecord);
  if (unsent_) {
    const Transfer moved = push_kept(socket);
    if (moved.state != Transfer::State::done) return moved;
    if (sealed_ > 0) return {Transfer::State::done, std::exchange(sealed_, 0), 0};
  } else if (!on_descriptor_ && !socket.maybe_writable()) {
    return would_block();
  }
  thread_local std::string scratch;
  size_t total = 0;
  size_t index = 0;
  size_t offset = 0;
  Transfer outcome;
  while (index < count && total < record * kRecordsInARow) {
    // One record: a piece of one vector, or several small ones gathered.
    const char* data = static_cast<const char*>(vectors[index].iov_base) + offset;
    size_t size = std::min(vectors[index].iov_len - offset, record);
    if (size < record && index + 1 < count) {
      scratch.clear();
      while (index < count && scratch.size() < record) {
        const size_t piece = std::min(vectors[index].iov_len - offset, record - scratch.size());
        scratch.append(static_cast<const char*>(vectors[index].iov_base) + offset, piece);
        offset += piece;
        if (offset == vectors[index].iov_len) {
          ++index;
          offset = 0;
        }
      }
      data = scratch.data();
      size = scratch.size();
    } else {
      offset += size;
      if (offset == vectors[index].iov_len) {
        ++index;
        offset = 0;
      }
    }
    if (size == 0) continue;
    if (retried_ > 0) size = retried_;
    int result = 0;
    if (!encrypt(socket, data, size, result)) {
      outcome = blocked_or_failed(socket, result, true, "SSL_write()");
      if (outcome.state == Transfer::State::would_block) retried_ = size;
      if (outcome.state == Transfer::State::end) outcome = {Transfer::State::failed, 0, EPIPE};
      break;
    }
    retried_ = 0;
    total += size;
    if (on_descriptor_) break;
  }
  if (!on_descriptor_) {
    const Transfer pushed = push(socket, Gathering::get().bytes);
    if (pushed.state == Transfer::State::would_block) {
      sealed_ = total;
      return pushed;
    }
    if (pushed.state == Transfer::State::failed) return pushed;
  }
  if (total > 0) return {Transfer::State::done, total, 0};
  return outcome;
}

bool Layer::can_send_file() const {
  return on_descriptor_ && handshaken_ && BIO_get_ktls_send(SSL_get_wbio(native_));
}

Transfer Layer::send_file(Socket& socket, int file, off_t offset, size_t size) {
  ERR_clear_error();
  ossl_ssize_t sent = 0;
  do {
    // Interrupted, OpenSSL says that there is no room: no event would tell of any.
    errno = 0;
    sent = SSL_sendfile(native_, file, offset, size, 0);
  } while (sent < 0 && errno == EINTR);
  if (sent > 0) return {Transfer::State::done, static_cast<size_t>(sent), 0};
  if (sent == 0) return {Transfer::State::failed, 0, EIO};
  return blocked_or_failed(socket, static_cast<int>(sent), true, "SSL_sendfile()");
}

Transfer Layer::shutdown(Socket& socket) {
  // Behind early data, with the client's Finished still to come, OpenSSL counts its part as done.
  if (!handshaken_ || failed_ || SSL_in_init(native_) != 0) return {};
  if (unsent_) {
    const Transfer moved = push_kept(socket);
    if (moved.state != Transfer::State::done) return moved;
  }
  if ((SSL_get_shutdown(native_) & SSL_SENT_SHUTDOWN) != 0) return {};
  ERR_clear_error();
  const int result = SSL_shutdown(native_);
  Transfer pushed = push(socket, Gathering::get().bytes);
  if (result < 0 && SSL_get_error(native_, result) == SSL_ERROR_WANT_WRITE) return would_block();
  ERR_clear_error();
  if (pushed.state == Transfer::State::failed) pushed = {};
  return pushed;
}

// --- events

void Layer::on_readable() {
  user_->on_readable();
}

void Layer::on_writable() {
  if (handshaken_ && unsent_ && sealed_ == 0) push_kept(*socket_);
  if (read_wants_room_) {
    read_wants_room_ = false;
    user_->on_readable();
    return;
  }
  user_->on_writable();
}

std::string_view Layer::alpn() const {
  const unsigned char* data = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(native_, &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

bool Layer::closed_cleanly() const {
  return (SSL_get_shutdown(native_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

}  // namespace weir::tls
