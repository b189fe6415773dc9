#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::upstream {

// The system's name servers: the "nameserver" lines of /etc/resolv.conf, at most three, as the C
// library takes them; without one (or without the file) the one of this machine.
class SystemServers {
 public:
  // Where they are written; the tests have their own.
  static const char* path;

  // True when the file is another one than at the last call, or has changed; at the first call.
  // Looks at the file's place and time only: call it before a question.
  bool changed();
  // Reads them: comma separated, with ports.
  std::string read() const;
  static std::string parse(std::string_view text);

 private:
  struct Sign {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    bool operator==(const Sign&) const = default;
  };
  Sign seen_;
  bool looked_ = false;
};

}  // namespace weir::upstream
