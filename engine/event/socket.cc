#include "engine/event/socket.h"

#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "engine/event/loop_implementation.h"

namespace weir {
namespace {

constexpr size_t kLargestSendFile = 0x7ffff000;

Transfer failed(int error) {
  return {Transfer::State::failed, 0, error};
}

Transfer would_block() {
  return {Transfer::State::would_block, 0, 0};
}

Transfer done(ssize_t bytes) {
  return {Transfer::State::done, static_cast<size_t>(bytes), 0};
}

bool is_would_block(int error) {
  return error == EAGAIN || error == EWOULDBLOCK;
}

// A head and a short body cost less copied together than as a message of two pieces.
constexpr size_t kGathered = 1024;

ssize_t send_all(int descriptor, const iovec* vectors, size_t count, size_t bytes, bool more) {
  const int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
  char gathered[kGathered];
  const void* single = count == 1 ? vectors[0].iov_base : nullptr;
  if (count > 1 && bytes <= kGathered) {
    char* to = gathered;
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(to, vectors[i].iov_base, vectors[i].iov_len);
      to += vectors[i].iov_len;
    }
    single = gathered;
  }
  ssize_t sent;
  if (single != nullptr) {
    do {
      sent = ::send(descriptor, single, bytes, flags);
    } while (sent < 0 && errno == EINTR);
    return sent;
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors);
  message.msg_iovlen = count;
  do {
    sent = ::sendmsg(descriptor, &message, flags);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

}  // namespace

Socket::Socket(Loop& loop, int descriptor, SocketHandler* handler) {
  open(loop, descriptor, handler);
}

bool Socket::open(Loop& loop, int descriptor, SocketHandler* handler) {
  close();
  loop_ = &loop;
  handler_ = handler;
  readable_ = false;
  writable_ = true;
  peer_closed_ = false;
  connecting_ = false;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = this;
  if (::epoll_ctl(loop.implementation_->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) {
    int error = errno;
    ::close(descriptor);
    errno = error;
    return false;
  }
  descriptor_ = descriptor;
  return true;
}

void Socket::expect_connect() {
  connecting_ = true;
  maybe_failed_ = true;
  writable_ = false;
}

void Socket::deregister() {
  Loop::Implementation& loop = *loop_->implementation_;
  if (place_ != 0) loop.forget(place_);
  place_ = 0;
  if (queued_) loop.forget_later(this);
  queued_ = false;
  descriptor_ = -1;
}

void Socket::close() {
  if (descriptor_ < 0) return;
  int descriptor = descriptor_;
  deregister();
  ::close(descriptor);  // takes it out of the set
}

void Socket::close_with_reset() {
  if (descriptor_ < 0) return;
  linger option{1, 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &option, sizeof(option));
  close();
}

int Socket::release() {
  if (descriptor_ < 0) return -1;
  int descriptor = descriptor_;
  ::epoll_ctl(loop_->implementation_->epoll, EPOLL_CTL_DEL, descriptor, nullptr);
  deregister();
  return descriptor;
}

Transfer Socket::read(char* to, size_t size) {
  assert(size > 0);  // 0 bytes would look like the end
  if (descriptor_ < 0) return failed(EBADF);
  if (!readable_) return would_block();
  ssize_t count;
  do {
    count = ::recv(descriptor_, to, size, 0);
  } while (count < 0 && errno == EINTR);
  if (count > 0) {
    // Fewer than asked: the buffer is empty, and what comes later is a new edge. After a hang-up
    // there is none, so reading goes on to the end.
    if (static_cast<size_t>(count) < size && !peer_closed_) readable_ = false;
    return done(count);
  }
  if (count == 0) return {Transfer::State::end, 0, 0};
  if (is_would_block(errno)) {
    readable_ = false;
    return would_block();
  }
  return failed(errno);
}

Transfer Socket::peek(char* to, size_t size) {
  if (descriptor_ < 0) return failed(EBADF);
  if (!readable_) return would_block();
  ssize_t count;
  do {
    count = ::recv(descriptor_, to, size, MSG_PEEK);
  } while (count < 0 && errno == EINTR);
  if (count > 0) return done(count);
  if (count == 0) return {Transfer::State::end, 0, 0};
  if (is_would_block(errno)) {
    readable_ = false;
    return would_block();
  }
  return failed(errno);
}

Transfer Socket::write(const iovec* vectors, size_t count, bool more) {
  if (descriptor_ < 0) return failed(EBADF);
  if (!writable_) return would_block();
  size_t wanted = 0;
  for (size_t i = 0; i < count; ++i) wanted += vectors[i].iov_len;
  const ssize_t sent = send_all(descriptor_, vectors, count, wanted, more);
  if (sent < 0) {
    if (!is_would_block(errno)) return failed(errno);
    writable_ = false;
    return would_block();
  }
  if (static_cast<size_t>(sent) < wanted) {
    writable_ = false;
    if (sent == 0) return would_block();
  }
  return done(sent);
}

Transfer Socket::send_file(int file, off_t offset, size_t size) {
  if (descriptor_ < 0) return failed(EBADF);
  if (!writable_) return would_block();
  ssize_t sent;
  do {
    sent = ::sendfile(descriptor_, file, &offset, std::min(size, kLargestSendFile));
  } while (sent < 0 && errno == EINTR);
  if (sent > 0)
    return done(sent);  // short: by a full buffer or by the file's end, which is not known
  if (sent == 0) return failed(EIO);
  if (!is_would_block(errno)) return failed(errno);
  writable_ = false;
  return would_block();
}

void Socket::shutdown_write() {
  if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_WR);
}

int Socket::connect_error() {
  if (descriptor_ < 0) return EBADF;
  connecting_ = false;
  if (!maybe_failed_) return 0;
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

void Socket::read_later() {
  if (descriptor_ < 0 || queued_) return;
  queued_ = true;
  loop_->implementation_->later.push_back(this);
}

}  // namespace weir
