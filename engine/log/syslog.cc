#include "engine/log/syslog.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "confparse/value.h"
#include "engine/log/clock.h"
#include "engine/net/address.h"

namespace weir {

namespace {

constexpr std::string_view kFacilities[] = {
    "kern",   "user",   "mail",     "daemon", "auth",   "intern", "lpr",    "news",
    "uucp",   "clock",  "authpriv", "ftp",    "ntp",    "audit",  "alert",  "cron",
    "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
// In syslog's order; nginx says "warn" and "error" for two of them.
constexpr std::string_view kSeverities[] = {"emerg", "alert",  "crit", "error",
                                            "warn",  "notice", "info", "debug"};
constexpr uint16_t kSyslogPort = 514;
constexpr size_t kLongestTag = 32;

std::optional<int> index_of(std::string_view word, const std::string_view* begin,
                            const std::string_view* end) {
  for (const std::string_view* at = begin; at != end; ++at) {
    if (*at == word) return static_cast<int>(at - begin);
  }
  return {};
}

bool is_port(std::string_view text) {
  const auto number = conf::parse_number(text);
  return number && *number >= 1 && *number <= 65535;
}

// "host", "host:port", "[v6]:port", "unix:/path": the kernel's address in `out`, or nginx's text.
std::string resolve_server(std::string_view server, conf::World& world, std::string& out) {
  const std::string quoted = "\"" + std::string(server) + "\"";
  if (server.starts_with("unix:")) {
    const std::string_view path = server.substr(5);
    if (path.empty()) return "no path in the unix domain socket in syslog server " + quoted;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return "too long path in the unix domain socket in syslog server " + quoted;
    }
    out = std::string(net::Address::unix_path(path).bytes());
    return {};
  }
  std::string invalid_port = "invalid port in syslog server " + quoted;
  const bool bracketed = server.starts_with('[');
  // An IPv6 address without brackets ends, for nginx too, at its first colon.
  if (bracketed || server.find(':') == server.rfind(':')) {
    if (const auto literal = net::Address::parse(server, kSyslogPort)) {
      if (literal->port() == 0) return invalid_port;
      out = std::string(literal->bytes());
      return {};
    }
  }
  std::string invalid_host = "invalid host in syslog server " + quoted;
  if (bracketed) {
    const size_t close = server.find(']');
    if (close == server.npos) return invalid_host;
    const std::string_view rest = server.substr(close + 1);
    if (!rest.empty() && (rest[0] != ':' || rest.find('/') != rest.npos)) return invalid_host;
    if (!rest.empty() && !is_port(rest.substr(1))) return invalid_port;
    return (close == 1 ? "no host in syslog server " : "invalid IPv6 address in syslog server ") +
           quoted;
  }
  if (server.find_first_of("/?") != server.npos) return invalid_host;
  std::string_view host = server;
  uint16_t port = kSyslogPort;
  if (const size_t colon = server.find(':'); colon != server.npos) {
    const std::string_view number = server.substr(colon + 1);
    if (!is_port(number)) return invalid_port;
    port = static_cast<uint16_t>(*conf::parse_number(number));
    host = server.substr(0, colon);
  }
  if (host.empty()) return "no host in syslog server " + quoted;
  const auto answer = world.resolve(std::string(host), port);
  if (!answer.ok() || answer.value.empty()) return "host not found in syslog server " + quoted;
  out = answer.value.front().bytes;
  return {};
}

std::string check_tag(std::string_view tag) {
  if (tag.size() > kLongestTag) return "syslog tag length exceeds 32";
  const bool good = std::all_of(tag.begin(), tag.end(),
                                [](unsigned char c) { return std::isalnum(c) || c == '_'; });
  return good ? "" : "syslog \"tag\" only allows alphanumeric characters and underscore";
}

// Which words have been seen, to find a second one.
struct Seen {
  bool server = false, facility = false, severity = false, tag = false;
};

std::string read_word(std::string_view word, conf::World& world, SyslogOptions& options,
                      Seen& seen) {
  const auto value_of = [&](std::string_view name, bool& used) -> std::optional<std::string> {
    if (used) return "duplicate syslog \"" + std::string(name) + "\"";
    used = true;
    return {};
  };
  const std::string_view value = word.substr(std::min(word.find('=') + 1, word.size()));
  if (word.starts_with("server=")) {
    if (auto twice = value_of("server", seen.server)) return *twice;
    options.server = value;
    return resolve_server(value, world, options.address);
  }
  if (word.starts_with("facility=")) {
    if (auto twice = value_of("facility", seen.facility)) return *twice;
    const auto index = index_of(value, std::begin(kFacilities), std::end(kFacilities));
    if (!index) return "unknown syslog facility \"" + std::string(value) + "\"";
    options.facility = *index;
    return {};
  }
  if (word.starts_with("severity=")) {
    if (auto twice = value_of("severity", seen.severity)) return *twice;
    const auto index = index_of(value, std::begin(kSeverities), std::end(kSeverities));
    if (!index) return "unknown syslog severity \"" + std::string(value) + "\"";
    options.severity = *index;
    return {};
  }
  if (word.starts_with("tag=")) {
    if (auto twice = value_of("tag", seen.tag)) return *twice;
    options.tag = value;
    return check_tag(value);
  }
  if (word == "nohostname") {
    options.no_host_name = true;
    return {};
  }
  return "unknown syslog parameter \"" + std::string(word) + "\"";
}

}  // namespace

std::optional<SyslogOptions> parse_syslog(std::string_view text, conf::World& world,
                                          std::string& problem) {
  SyslogOptions options;
  Seen seen;
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    problem = read_word(text.substr(0, comma), world, options, seen);
    if (!problem.empty()) return {};
    if (comma == text.size()) break;
    text.remove_prefix(comma + 1);
  }
  if (!seen.server) {
    problem = "no syslog server specified";
    return {};
  }
  return options;
}

int syslog_severity(Severity severity) {
  switch (severity) {
    case Severity::stderr_only:
    case Severity::emerg:
      return 0;
    default:
      return static_cast<int>(severity) - static_cast<int>(Severity::emerg);
  }
}

std::string syslog_message(const SyslogOptions& options, int severity, std::string_view host_name,
                           int64_t wall_milliseconds, std::string_view message) {
  std::string text = "<" + std::to_string(options.facility * 8 + severity) + ">";
  text += clock_text::syslog(wall_milliseconds);
  text += ' ';
  if (!options.no_host_name) {
    text += host_name;
    text += ' ';
  }
  text += options.tag;
  text += ": ";
  text += message;
  return text;
}

SyslogSenders::~SyslogSenders() {
  for (const auto& [address, descriptor] : sockets_) ::close(descriptor);
}

int SyslogSenders::connect_to(const std::string& address) {
  const net::Address to = net::Address::from_bytes(address);
  const int descriptor = socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -errno;
  if (connect(descriptor, to.data(), to.size()) != 0) {
    const int error = errno;
    ::close(descriptor);
    return -error;
  }
  sockets_[address] = descriptor;
  return descriptor;
}

int SyslogSenders::send(const SyslogOptions& options, int severity, std::string_view message) {
  if (host_name_.empty()) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    host_name_ = name;
    std::transform(host_name_.begin(), host_name_.end(), host_name_.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  const std::string text =
      syslog_message(options, severity, host_name_, clock_text::now_milliseconds(), message);
  int error = 0;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto known = sockets_.find(options.address);
    const int descriptor = known != sockets_.end() ? known->second : connect_to(options.address);
    if (descriptor < 0) return -descriptor;
    if (::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL) >= 0) return 0;
    error = errno;
    if (error == EAGAIN || error == EMSGSIZE) return error;
    // The server was restarted or its socket made anew: connect again, once.
    ::close(descriptor);
    sockets_.erase(options.address);
  }
  return error;
}

}  // namespace weir
