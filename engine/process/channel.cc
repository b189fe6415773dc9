#include "engine/process/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::process {

namespace {

constexpr size_t kMostDescriptors = Message::kMostEntries + 1;
constexpr int kInboxSize = 4 << 20;
constexpr size_t kControlSize = CMSG_SPACE(kMostDescriptors * sizeof(int));

void take_descriptors(msghdr& header, std::vector<int>& descriptors) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      descriptors.push_back(descriptor);
    }
  }
}

}  // namespace

int open_channel(int ends[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0 ? 0
                                                                                          : errno;
}

int open_inbox(int ends[2]) {
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return errno;
  // Room for bursts; more than the system allows is no error.
  const int size = kInboxSize;
  if (setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  return 0;
}

int send_message(int channel, const Message& message, const std::vector<int>& descriptors) {
  Message copy = message;
  iovec vector{&copy, sizeof copy};
  alignas(cmsghdr) char control[kControlSize] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (descriptors.size() > kMostDescriptors) return EMSGSIZE;
  if (!descriptors.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size() * sizeof(int));
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(channel, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

int send_message_patiently(int channel, const Message& message, const std::vector<int>& descriptors,
                           int milliseconds) {
  int error = send_message(channel, message, descriptors);
  if (error != EAGAIN && error != ETOOMANYREFS) return error;
  pollfd wait{channel, POLLOUT, 0};
  if (poll(&wait, 1, milliseconds) <= 0) return error;
  return send_message(channel, message, descriptors);
}

Received receive_message(int channel, Message& message, std::vector<int>& descriptors) {
  iovec vector{&message, sizeof message};
  alignas(cmsghdr) char control[kControlSize] = {};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t got = 0;
  do {
    got = recvmsg(channel, &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? Received::nothing : Received::closed;
  take_descriptors(header, descriptors);
  const bool whole = got == static_cast<ssize_t>(sizeof message) &&
                     !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
                     message.entry_count <= Message::kMostEntries;
  if (whole) return Received::message;
  for (const int descriptor : descriptors) close(descriptor);
  descriptors.clear();
  return Received::closed;
}

}  // namespace weir::process
