#include "engine/stream/steering.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "engine/event/loop.h"
#include "engine/net/datagram_slots.h"
#include "engine/stream/datagrams.h"
#include "engine/worker.h"

namespace weir::stream {
namespace {

constexpr size_t kLargestDatagram = 65535;
constexpr size_t kLargestMessage = kLargestDatagram + 1024;
// Of the file that names sessions: far above what worker_connections allow.
constexpr off_t kLargestFile = 256 << 20;
constexpr int kMessagesInARow = 64;
constexpr int kTellMilliseconds = 100;
constexpr uint64_t kExpectMilliseconds = 1000;

void append(std::string& key, const net::Address& address) {
  const std::string_view bytes = address.bytes();
  key += static_cast<char>(bytes.size());
  key += bytes;
}

std::string make_key(const net::Address& listening, const net::Address& peer,
                     const net::Address& local) {
  std::string key;
  key.reserve(3 + listening.bytes().size() + peer.bytes().size() + local.bytes().size());
  append(key, listening);
  append(key, peer);
  append(key, local);
  return key;
}

struct Key {
  std::string_view bytes;
  net::Address listening, peer, local;
};

// Takes a key off the front of `rest`.
std::optional<Key> take_key(std::string_view& rest) {
  Key key;
  const std::string_view whole = rest;
  for (net::Address* address : {&key.listening, &key.peer, &key.local}) {
    if (rest.empty()) return {};
    const auto size = static_cast<unsigned char>(rest[0]);
    if (rest.size() < size_t{1} + size) return {};
    *address = net::Address::from_bytes(rest.substr(1, size));
    if (address->empty()) return {};
    rest.remove_prefix(size_t{1} + size);
  }
  key.bytes = whole.substr(0, whole.size() - rest.size());
  return key;
}

// The descriptor that came with a message; -1: none. Others are closed.
int take_file(msghdr& header) {
  int file = -1;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      if (file >= 0) ::close(file);
      file = descriptor;
    }
  }
  return file;
}

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

std::string read_whole(int file) {
  struct stat facts{};
  if (::fstat(file, &facts) != 0 || facts.st_size <= 0 || facts.st_size > kLargestFile) return {};
  std::string bytes(static_cast<size_t>(facts.st_size), '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t got = ::pread(file, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (got <= 0) return {};
    at += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace

Steering::Steering(Worker& worker)
    : worker_(worker), watcher_(&Steering::readable, this), timer_(&Steering::waited, this) {}

Steering::~Steering() {
  watcher_.close();
  if (inbox_ >= 0) ::close(inbox_);
  for (const Other& other : others_) ::close(other.descriptor);
}

void Steering::open(uint32_t number, int inbox) {
  number_ = number;
  inbox_ = inbox;
  watcher_.open(worker_.loop, inbox, EPOLLIN);
}

// --- the others

Steering::Other* Steering::find(uint32_t number) {
  const auto found = std::find_if(others_.begin(), others_.end(),
                                  [&](const Other& other) { return other.number == number; });
  return found == others_.end() ? nullptr : &*found;
}

// The one that was started last: an earlier one is on its way out.
Steering::Other* Steering::find_slot(uint32_t slot) {
  Other* found = nullptr;
  for (Other& other : others_) {
    if (other.slot == slot && (!found || other.number > found->number)) found = &other;
  }
  return found;
}

void Steering::expect_worker(uint32_t number, uint32_t slot, int descriptor) {
  others_.push_back({number, slot, descriptor});
  expected_.push_back(number);
  timer_.arm(worker_.loop, kExpectMilliseconds);
}

void Steering::told_by(uint32_t number) {
  if (expected_.empty()) return;
  std::erase(expected_, number);
  if (!expected_.empty()) return;
  timer_.cancel();
  for (DatagramListener* listener : listeners_) listener->start();
}

void Steering::waited(void* self) {
  auto& steering = *static_cast<Steering*>(self);
  steering.expected_.resize(1);
  steering.told_by(steering.expected_[0]);
}

void Steering::add_worker(uint32_t number, uint32_t slot, int descriptor) {
  forget(number);
  others_.push_back({number, slot, descriptor});
  const std::string sessions = displaced_sessions();
  const int file = ::memfd_create("weir-sessions", MFD_CLOEXEC);
  if (file < 0) return;
  if (write_all(file, sessions)) tell_sessions(others_.back(), file);
  ::close(file);
}

void Steering::forget(uint32_t number) {
  for (const Other& other : others_) {
    if (other.number == number) ::close(other.descriptor);
  }
  std::erase_if(others_, [&](const Other& other) { return other.number == number; });
  std::erase_if(owners_, [&](const auto& entry) { return entry.second == number; });
  told_by(number);
}

int Steering::send(Other& to, Kind kind, std::string_view key, std::string_view datagram,
                   int file) {
  Head head{};
  head.sender = number_;
  head.kind = kind;
  iovec vectors[] = {{&head, sizeof head},
                     {const_cast<char*>(key.data()), key.size()},
                     {const_cast<char*>(datagram.data()), datagram.size()}};
  msghdr header{};
  header.msg_iov = vectors;
  header.msg_iovlen = 3;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (file >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &file, sizeof file);
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(to.descriptor, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return 0;
  const int error = errno;
  // Its end is closed: that process is gone.
  if (error == ECONNREFUSED || error == EPIPE || error == ECONNRESET || error == ENOTCONN) {
    forget(to.number);
  }
  return error;
}

// --- which sessions are where

void Steering::set_slots(uint32_t slots) {
  if (slots == slots_) return;
  slots_before_ = std::exchange(slots_, slots);
  if (others_.empty()) return;
  const std::string sessions = displaced_sessions();
  const int file = ::memfd_create("weir-sessions", MFD_CLOEXEC);
  if (file < 0) return;
  if (write_all(file, sessions)) {
    // Telling may find that one is gone.
    std::vector<uint32_t> numbers;
    numbers.reserve(others_.size());
    for (const Other& other : others_) numbers.push_back(other.number);
    for (const uint32_t number : numbers) {
      if (Other* other = find(number)) tell_sessions(*other, file);
    }
  }
  ::close(file);
}

std::string Steering::displaced_sessions() const {
  std::string sessions;
  for (const DatagramListener* listener : listeners_) {
    listener->for_each_client([&](const DatagramKey& key) {
      const auto belongs_here = [&](uint32_t slots) {
        return slots > 0 && net::datagram_slot(key.peer, slots) == worker_.slot;
      };
      if (belongs_here(slots_) && (slots_before_ == 0 || belongs_here(slots_before_))) return;
      sessions += make_key(listener->address(), key.peer, key.local);
    });
  }
  return sessions;
}

void Steering::tell_sessions(Other& to, int file) {
  const uint32_t number = to.number;
  if (send(to, Kind::sessions, {}, {}, file) != EAGAIN) return;
  pollfd wait{to.descriptor, POLLOUT, 0};
  if (::poll(&wait, 1, kTellMilliseconds) <= 0) return;
  if (Other* other = find(number)) send(*other, Kind::sessions, {}, {}, file);
}

void Steering::take_sessions(uint32_t owner, int file) {
  std::erase_if(owners_, [&](const auto& entry) { return entry.second == owner; });
  if (file < 0) return;
  const std::string bytes = read_whole(file);
  for (std::string_view rest = bytes; !rest.empty();) {
    const auto key = take_key(rest);
    if (!key) break;
    owners_[std::string(key->bytes)] = owner;
  }
  told_by(owner);
}

// --- datagrams on their way

bool Steering::pass_to_owner(const std::string& key, std::string_view datagram) {
  const auto owner = owners_.find(key);
  if (owner == owners_.end()) return false;
  Other* other = find(owner->second);
  if (!other) {
    owners_.erase(owner);
    return false;
  }
  const int error = send(*other, Kind::datagram, key, datagram);
  return error == 0 || error == EAGAIN || error == ENOBUFS;  // else it is gone
}

bool Steering::pass_on(const net::Address& listening, const DatagramKey& key,
                       std::string_view datagram) {
  if (others_.empty()) return false;
  const uint32_t slot = net::datagram_slot(key.peer, slots_);
  const bool misdirected = slots_ > 0 && slot != worker_.slot;
  if (owners_.empty() && !misdirected) return false;
  const std::string text = make_key(listening, key.peer, key.local);
  if (pass_to_owner(text, datagram)) return true;
  if (!misdirected) return false;
  Other* other = find_slot(slot);
  return other && send(*other, Kind::misdirected, text, datagram) == 0;
}

void Steering::readable(void* self, uint32_t) {
  static_cast<Steering*>(self)->read_inbox(kMessagesInARow);
}

void Steering::read_inbox(int limit) {
  if (inbox_ < 0 || reading_) return;
  reading_ = true;
  thread_local std::unique_ptr<char[]> room(new char[kLargestMessage]);
  for (int i = 0; i < limit; ++i) {
    iovec vector{room.get(), kLargestMessage};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(inbox_, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    const int file = take_file(header);
    if (!(header.msg_flags & MSG_TRUNC)) {
      take_message({room.get(), static_cast<size_t>(got)}, file);
    }
    if (file >= 0) ::close(file);
  }
  reading_ = false;
}

void Steering::take_message(std::string_view message, int file) {
  Head head;
  if (message.size() < sizeof head) return;
  std::memcpy(&head, message.data(), sizeof head);
  message.remove_prefix(sizeof head);
  if (head.kind == Kind::sessions) return take_sessions(head.sender, file);
  take_datagram(head, message);
}

void Steering::take_datagram(const Head& head, std::string_view rest) {
  const auto key = take_key(rest);
  if (!key) return;
  const auto found = std::find_if(
      listeners_.begin(), listeners_.end(),
      [&](const DatagramListener* listener) { return listener->address() == key->listening; });
  if (found == listeners_.end()) return;  // nobody listens there any more
  DatagramListener& listener = **found;
  if (listener.deliver({key->peer, key->local}, rest)) return;
  switch (head.kind) {
    case Kind::datagram:
      if (Other* sender = find(head.sender)) {
        const int error = send(*sender, Kind::returned, key->bytes, rest);
        if (error == 0 || error == EAGAIN) return;
      }
      break;
    case Kind::returned:
      owners_.erase(std::string(key->bytes));
      break;
    case Kind::misdirected:
      if (pass_to_owner(std::string(key->bytes), rest)) return;
      break;
    default:
      return;
  }
  listener.begin({key->peer, key->local}, rest);
}

}  // namespace weir::stream
