#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "confparse/world.h"
#include "engine/log/severity.h"

namespace weir {

// The words of `syslog:server=…,facility=…,severity=…,tag=…,nohostname`.
struct SyslogOptions {
  std::string server;   // as written: "127.0.0.1:514", "unix:/dev/log"
  std::string address;  // the kernel's form, resolved while compiling
  int facility = 23;    // local7
  int severity = 6;     // info; error logs use their own
  std::string tag = "nginx";
  bool no_host_name = false;
  bool operator==(const SyslogOptions&) const = default;
};

// Parses what follows "syslog:". Empty: `problem` is nginx's text. Resolves through `world`.
std::optional<SyslogOptions> parse_syslog(std::string_view text, conf::World& world,
                                          std::string& problem);

// One datagram: "<189>Nov 21 12:00:00 host tag: message". `severity` is syslog's number, 0 to 7.
std::string syslog_message(const SyslogOptions& options, int severity, std::string_view host_name,
                           int64_t wall_milliseconds, std::string_view message);
int syslog_severity(Severity severity);

// Datagram sockets to syslog servers, one an address; made when first used, in the process that
// logs. Sending never blocks: what the kernel does not take is lost, as with nginx.
class SyslogSenders {
 public:
  SyslogSenders() = default;
  SyslogSenders(const SyslogSenders&) = delete;
  SyslogSenders& operator=(const SyslogSenders&) = delete;
  ~SyslogSenders();
  // 0 or an errno. A second attempt is made with a new socket when the old one's server went away.
  int send(const SyslogOptions& options, int severity, std::string_view message);

 private:
  int connect_to(const std::string& address);
  std::unordered_map<std::string, int> sockets_;
  std::string host_name_;
};

}  // namespace weir
