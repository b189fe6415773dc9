#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::conf {

// A value or an errno.
template <class T>
struct Answer {
  T value{};
  int error = 0;
  bool ok() const { return error == 0; }
};

// A socket address in the kernel's form (struct sockaddr_in, _in6, _un), as bytes.
struct SocketAddress {
  std::string bytes;
  bool operator==(const SocketAddress&) const = default;
};

struct UserIdentity {
  uid_t user = 0;
  gid_t group = 0;
};

// The only door to the outside while a configuration is read and compiled. Nothing in confparse or
// in a module's compile step opens a file, resolves a name or asks for a user by itself.
//
//   RealWorld: does it, and records every answer in a Bundle (master; weir -t).
//
//   ReplayWorld: answers from a Bundle; what is not in it is ENOENT-like and fails the reload
//   (worker).
//
//   DryWorld: reads files; a name resolves to 127.0.0.1 unless told to look; nothing is written,
//   bound or executed (confcheck).
//
//   VirtualWorld: files in memory, bounded in count, size and depth (tests, fuzzers).
//
// They are declared in confparse/worlds.h.
class World {
 public:
  virtual ~World() = default;
  // The whole file. Directories and files over the limit (64 MB) are errors (EISDIR, EFBIG).
  virtual Answer<std::string> read_file(const std::string& path) = 0;
  // glob(3) with nginx's rules: sorted, no match for a pattern is an empty list; a path without
  // magic characters is returned as it is.
  virtual Answer<std::vector<std::string>> expand(const std::string& pattern) = 0;
  // All addresses of a host name, port filled in, in the order to use. error is an EAI_* value,
  // negative.
  virtual Answer<std::vector<SocketAddress>> resolve(const std::string& host, uint16_t port) = 0;
  virtual Answer<UserIdentity> user(const std::string& name) = 0;
  virtual Answer<gid_t> group(const std::string& name) = 0;
  virtual Answer<std::string> host_name() = 0;
  // May the service bind to port 80? (It runs as root.)
  virtual Answer<bool> privileged() { return {true, 0}; }
  // Is there such a file or folder? (stat; error is errno)
  virtual Answer<bool> is_directory(const std::string& path) = 0;
  // An answer that is made of others and of what must not travel (a private key, decrypted with a
  // passphrase). `make` gets a world that records nothing; only its result is recorded, under
  // `question`. `make` is not called in a worker.
  using Make = std::function<Answer<std::string>(World&)>;
  virtual Answer<std::string> derive(const std::string& question, const Make& make) {
    (void)question;
    return make(*this);
  }
};

}  // namespace weir::conf
