#include "confparse/worlds.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>

#include "confparse/bundle_codec.h"

namespace weir::conf {

namespace {

template <class T>
Answer<T> failure(int error) {
  Answer<T> answer;
  answer.error = error;
  return answer;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

SocketAddress bytes_of(const sockaddr* address, size_t length) {
  return {std::string(reinterpret_cast<const char*>(address), length)};
}

// IPv4 first, then IPv6, each in the resolver's order, as nginx tries them.
Answer<std::vector<SocketAddress>> resolve_with_system(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) return failure<std::vector<SocketAddress>>(error);
  Answer<std::vector<SocketAddress>> answer;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* entry = list; entry; entry = entry->ai_next) {
      if (entry->ai_family != family) continue;
      SocketAddress address = bytes_of(entry->ai_addr, entry->ai_addrlen);
      const uint16_t network_port = htons(port);
      // The port lies at the same place in both forms.
      std::memcpy(address.bytes.data() + offsetof(sockaddr_in, sin_port), &network_port, 2);
      answer.value.push_back(std::move(address));
    }
  }
  freeaddrinfo(list);
  if (answer.value.empty()) answer.error = EAI_NONAME;
  return answer;
}

bool has_magic(const std::string& pattern) {
  return pattern.find_first_of("*?[") != std::string::npos;
}

}  // namespace

SocketAddress address_of_text(const std::string& text, uint16_t port) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    return bytes_of(reinterpret_cast<sockaddr*>(&v4), sizeof(v4));
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    return bytes_of(reinterpret_cast<sockaddr*>(&v6), sizeof(v6));
  }
  return {};
}

// --- disk

Answer<std::string> DiskWorld::read_file(const std::string& path) {
  // Non-blocking: opening a FIFO must not hang.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return failure<std::string>(errno);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return failure<std::string>(errno);
  if (S_ISDIR(status.st_mode)) return failure<std::string>(EISDIR);
  if (static_cast<uint64_t>(status.st_size) > kLargestConfigurationFile) {
    return failure<std::string>(EFBIG);
  }
  Answer<std::string> answer;
  answer.value.resize(static_cast<size_t>(status.st_size));
  size_t length = 0;
  while (length < answer.value.size()) {
    const ssize_t got =
        read(file.get(), answer.value.data() + length, answer.value.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure<std::string>(errno);
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  answer.value.resize(length);
  return answer;
}

Answer<std::vector<std::string>> DiskWorld::expand(const std::string& pattern) {
  Answer<std::vector<std::string>> answer;
  if (!has_magic(pattern)) {
    answer.value.push_back(pattern);
    return answer;
  }
  glob_t found{};
  const int result = glob(pattern.c_str(), 0, nullptr, &found);
  if (result == 0) {
    for (size_t i = 0; i < found.gl_pathc; ++i) answer.value.emplace_back(found.gl_pathv[i]);
  } else if (result != GLOB_NOMATCH) {
    answer.error = result == GLOB_NOSPACE ? ENOMEM : EIO;
  }
  globfree(&found);
  return answer;
}

Answer<std::string> DiskWorld::host_name() {
  char name[256];
  if (gethostname(name, sizeof(name)) != 0) return failure<std::string>(errno);
  name[sizeof(name) - 1] = 0;
  Answer<std::string> answer;
  answer.value = name;
  return answer;
}

Answer<bool> DiskWorld::is_directory(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return failure<bool>(errno);
  Answer<bool> answer;
  answer.value = S_ISDIR(status.st_mode);
  return answer;
}

// --- real

namespace {

template <class T>
Answer<T> recorded(Bundle* bundle, char kind, const std::string& argument, Answer<T> answer) {
  if (bundle) bundle->record(bundle_key(kind, argument), encode_answer(answer));
  return answer;
}

}  // namespace

Answer<std::string> RealWorld::read_file(const std::string& path) {
  return recorded(bundle_, 'f', path, DiskWorld::read_file(path));
}

Answer<std::vector<std::string>> RealWorld::expand(const std::string& pattern) {
  return recorded(bundle_, 'x', pattern, DiskWorld::expand(pattern));
}

Answer<std::vector<SocketAddress>> RealWorld::resolve(const std::string& host, uint16_t port) {
  return recorded(bundle_, 'r', resolve_argument(host, port), resolve_with_system(host, port));
}

namespace {

Answer<UserIdentity> user_of_system(const std::string& name) {
  Answer<UserIdentity> answer;
  errno = 0;
  if (const passwd* entry = getpwnam(name.c_str())) {
    answer.value = {entry->pw_uid, entry->pw_gid};
  } else {
    answer.error = errno ? errno : ENOENT;
  }
  return answer;
}

Answer<gid_t> group_of_system(const std::string& name) {
  Answer<gid_t> answer;
  errno = 0;
  if (const ::group* entry = getgrnam(name.c_str())) {
    answer.value = entry->gr_gid;
  } else {
    answer.error = errno ? errno : ENOENT;
  }
  return answer;
}

}  // namespace

Answer<UserIdentity> RealWorld::user(const std::string& name) {
  return recorded(bundle_, 'u', name, user_of_system(name));
}

Answer<gid_t> RealWorld::group(const std::string& name) {
  return recorded(bundle_, 'g', name, group_of_system(name));
}

Answer<std::string> RealWorld::host_name() {
  return recorded(bundle_, 'h', "", DiskWorld::host_name());
}

Answer<bool> RealWorld::privileged() {
  return recorded(bundle_, 'p', "", Answer<bool>{geteuid() == 0, 0});
}

Answer<bool> RealWorld::is_directory(const std::string& path) {
  return recorded(bundle_, 'd', path, DiskWorld::is_directory(path));
}

Answer<std::string> RealWorld::derive(const std::string& question, const Make& make) {
  RealWorld unrecorded;
  return recorded(bundle_, 'k', question, make(unrecorded));
}

// --- replay

template <class T>
Answer<T> ReplayWorld::answer(char kind, const std::string& argument, int absent) {
  const std::string key = bundle_key(kind, argument);
  const std::string* bytes = bundle_.find(key);
  Answer<T> answer;
  if (bytes && decode_answer(*bytes, answer)) return answer;
  if (missing_.empty()) missing_ = key;
  return failure<T>(absent);
}

Answer<std::string> ReplayWorld::read_file(const std::string& path) {
  return answer<std::string>('f', path, ENOENT);
}
Answer<std::vector<std::string>> ReplayWorld::expand(const std::string& pattern) {
  return answer<std::vector<std::string>>('x', pattern, ENOENT);
}
Answer<std::vector<SocketAddress>> ReplayWorld::resolve(const std::string& host, uint16_t port) {
  return answer<std::vector<SocketAddress>>('r', resolve_argument(host, port), EAI_NONAME);
}
Answer<UserIdentity> ReplayWorld::user(const std::string& name) {
  return answer<UserIdentity>('u', name, ENOENT);
}
Answer<gid_t> ReplayWorld::group(const std::string& name) {
  return answer<gid_t>('g', name, ENOENT);
}
Answer<std::string> ReplayWorld::host_name() {
  return answer<std::string>('h', "", ENOENT);
}
Answer<bool> ReplayWorld::privileged() {
  return answer<bool>('p', "", ENOENT);
}
Answer<bool> ReplayWorld::is_directory(const std::string& path) {
  return answer<bool>('d', path, ENOENT);
}
Answer<std::string> ReplayWorld::derive(const std::string& question, const Make&) {
  return answer<std::string>('k', question, ENOENT);
}

// --- dry

Answer<std::vector<SocketAddress>> DryWorld::resolve(const std::string& host, uint16_t port) {
  if (look_up_) return resolve_with_system(host, port);
  Answer<std::vector<SocketAddress>> answer;
  answer.value.push_back(address_of_text("127.0.0.1", port));
  return answer;
}

Answer<UserIdentity> DryWorld::user(const std::string& name) {
  return user_of_system(name);
}

Answer<gid_t> DryWorld::group(const std::string& name) {
  return group_of_system(name);
}

// --- virtual

namespace {

bool is_too_long(const std::string& path) {
  size_t component = 0;
  for (const char c : path) {
    component = c == '/' ? 0 : component + 1;
    if (component > NAME_MAX) return true;
  }
  return path.size() >= PATH_MAX;
}

}  // namespace

Answer<std::string> VirtualWorld::read_file(const std::string& path) {
  if (is_too_long(path)) return failure<std::string>(ENAMETOOLONG);
  const auto found = files_.find(path);
  if (found == files_.end()) return failure<std::string>(is_directory(path).ok() ? EISDIR : ENOENT);
  if (reads_left_ == 0) return failure<std::string>(EMFILE);
  if (found->second.size() > bytes_left_) return failure<std::string>(EFBIG);
  --reads_left_;
  bytes_left_ -= found->second.size();
  Answer<std::string> answer;
  answer.value = found->second;
  return answer;
}

Answer<std::vector<std::string>> VirtualWorld::expand(const std::string& pattern) {
  Answer<std::vector<std::string>> answer;
  if (!has_magic(pattern)) {
    answer.value.push_back(pattern);
    return answer;
  }
  for (const auto& [path, text] : files_) {
    if (fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0) {
      answer.value.push_back(path);
    }
  }
  return answer;
}

Answer<std::vector<SocketAddress>> VirtualWorld::resolve(const std::string& host, uint16_t port) {
  Answer<std::vector<SocketAddress>> answer;
  const auto found = hosts_.find(host);
  if (found == hosts_.end() && !hosts_.empty()) {
    answer.error = EAI_NONAME;
    return answer;
  }
  answer.value.push_back(
      address_of_text(found == hosts_.end() ? "127.0.0.1" : found->second, port));
  return answer;
}

Answer<UserIdentity> VirtualWorld::user(const std::string&) {
  return {};
}
Answer<gid_t> VirtualWorld::group(const std::string&) {
  return {};
}

Answer<std::string> VirtualWorld::host_name() {
  Answer<std::string> answer;
  answer.value = "virtual";
  return answer;
}

Answer<bool> VirtualWorld::is_directory(const std::string& path) {
  Answer<bool> answer;
  if (files_.contains(path)) return answer;
  const std::string below = path.ends_with('/') ? path : path + "/";
  const auto found = files_.lower_bound(below);
  if (found != files_.end() && found->first.starts_with(below)) {
    answer.value = true;
  } else {
    answer.error = ENOENT;
  }
  return answer;
}

}  // namespace weir::conf
