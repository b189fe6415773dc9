#include "engine/tls/socket_bio.h"

#include <cerrno>

namespace weir::tls {
namespace {

constexpr size_t kKept = 128 * 1024;

int read_bio(BIO* bio, char* to, size_t size, size_t* got) {
  BIO_clear_retry_flags(bio);
  auto* socket = static_cast<Socket*>(BIO_get_data(bio));
  *got = 0;
  if (!socket || size == 0) return 0;
  const Transfer moved = socket->read(to, size);
  switch (moved.state) {
    case Transfer::State::done:
      *got = moved.bytes;
      return 1;
    case Transfer::State::would_block:
      BIO_set_retry_read(bio);
      return 0;
    case Transfer::State::end:
      BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      errno = 0;
      return 0;
    case Transfer::State::failed:
      errno = moved.error;
      return 0;
  }
  return 0;
}

int write_bio(BIO* bio, const char* from, size_t size, size_t* put) {
  BIO_clear_retry_flags(bio);
  Gathering::get().bytes.append(from, size);
  *put = size;
  return 1;
}

long control_bio(BIO* bio, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
      return 1;
    case BIO_CTRL_EOF:
      return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

int create_bio(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

const BIO_METHOD* method() {
  static BIO_METHOD* made = [] {
    BIO_METHOD* built = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir socket");
    BIO_meth_set_read_ex(built, read_bio);
    BIO_meth_set_write_ex(built, write_bio);
    BIO_meth_set_ctrl(built, control_bio);
    BIO_meth_set_create(built, create_bio);
    return built;
  }();
  return made;
}

}  // namespace

BIO* new_socket_bio() {
  return BIO_new(method());
}

void bind_socket(BIO* bio, Socket* socket) {
  BIO_set_data(bio, socket);
}

Gathering& Gathering::get() {
  thread_local Gathering gathering;
  return gathering;
}

void Gathering::reset() {
  bytes.clear();
  if (bytes.capacity() > kKept) bytes.shrink_to_fit();
}

}  // namespace weir::tls
