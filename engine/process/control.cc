#include "engine/process/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weir::process {

namespace {

constexpr size_t kMostClients = 32;
constexpr int kClientMilliseconds = 20;
constexpr size_t kMostAnswer = 128 * 1024;
constexpr std::string_view kReload = "reload";

std::string socket_path(const std::string& pid_file) {
  return pid_file + ".control";
}

// Unix addresses are short: a long folder is reached through an open descriptor of it.
class ShortPath {
 public:
  explicit ShortPath(const std::string& path) : path_(path) {
    if (path.size() < sizeof(sockaddr_un::sun_path)) return;
    const size_t slash = path.rfind('/');
    if (slash == path.npos) return;
    folder_ = ::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    path_ = "/proc/self/fd/" + std::to_string(folder_) + path.substr(slash);
  }
  ~ShortPath() {
    if (folder_ >= 0) close(folder_);
  }
  bool fill(sockaddr_un& address) const {
    address = {};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    return true;
  }

 private:
  std::string path_;
  int folder_ = -1;
};

bool peer_of(int descriptor, ucred& peer) {
  socklen_t size = sizeof peer;
  return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
}

}  // namespace

int ControlSocket::open(const std::string& pid_file) {
  const std::string path = socket_path(pid_file);
  const ShortPath short_path(path);
  sockaddr_un address;
  if (!short_path.fill(address)) return ENAMETOOLONG;
  const int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return errno;
  unlink(path.c_str());
  const mode_t before = umask(0177);
  const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const int error = bound ? 0 : errno;
  umask(before);
  if (!bound || listen(descriptor, kMostClients) != 0) {
    const int reason = bound ? errno : error;
    close(descriptor);
    return reason;
  }
  listening_ = descriptor;
  path_ = path;
  return 0;
}

void ControlSocket::remove() {
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
  close_all();
}

int ControlSocket::move(const std::string& pid_file) {
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
  if (listening_ >= 0) close(listening_);
  listening_ = -1;
  return open(pid_file);
}

void ControlSocket::close_all() {
  for (const int client : clients_) close(client);
  for (const int client : waiting_) close(client);
  clients_.clear();
  waiting_.clear();
  if (listening_ >= 0) close(listening_);
  listening_ = -1;
}

void ControlSocket::accept_client() {
  const int client = accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  ucred peer{};
  const bool heard = peer_of(client, peer) && (peer.uid == 0 || peer.uid == geteuid());
  if (!heard || clients_.size() + waiting_.size() >= kMostClients) {
    close(client);
    return;
  }
  clients_.push_back(client);
}

void ControlSocket::drop(int client) {
  std::erase(clients_, client);
  close(client);
}

bool ControlSocket::read_client(int client) {
  char request[64];
  const ssize_t got = recv(client, request, sizeof request, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got != static_cast<ssize_t>(kReload.size()) ||
      std::string_view(request, kReload.size()) != kReload) {
    drop(client);
    return false;
  }
  std::erase(clients_, client);
  waiting_.push_back(client);
  return true;
}

bool ControlSocket::wait_and_read_client(int client) {
  pollfd wait{client, POLLIN, 0};
  if (poll(&wait, 1, kClientMilliseconds) > 0) return read_client(client);
  drop(client);
  return false;
}

void ControlSocket::answer(bool accepted, std::string_view text) {
  std::string message(1, accepted ? '0' : '1');
  message += text.substr(0, kMostAnswer - 1);
  for (const int client : waiting_) {
    // A client that does not read must not stop the master.
    [[maybe_unused]] const auto sent =
        send(client, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(client);
  }
  waiting_.clear();
}

ControlAnswer ask_reload(const std::string& pid_file, pid_t master) {
  ControlAnswer result;
  const std::string path = socket_path(pid_file);
  const ShortPath short_path(path);
  sockaddr_un address;
  if (!short_path.fill(address)) return result;
  const int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return result;
  ucred peer{};
  if (connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      !peer_of(descriptor, peer) || peer.pid != master ||
      send(descriptor, kReload.data(), kReload.size(), MSG_NOSIGNAL) < 0) {
    close(descriptor);
    return result;
  }
  result.connected = true;
  std::string buffer(kMostAnswer, '\0');
  ssize_t got = 0;
  do {
    got = recv(descriptor, buffer.data(), buffer.size(), 0);
  } while (got < 0 && errno == EINTR);
  close(descriptor);
  if (got < 1) return result;
  result.answered = true;
  result.accepted = buffer[0] == '0';
  result.text = buffer.substr(1, static_cast<size_t>(got) - 1);
  return result;
}

}  // namespace weir::process
