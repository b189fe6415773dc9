#include "engine/upstream/system_servers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "engine/net/address.h"

namespace weir::upstream {

namespace {

constexpr size_t kMostBytes = 64 * 1024;
constexpr int kMostServers = 3;
constexpr std::string_view kBlanks = " \t\r";

std::string_view next_word(std::string_view& line) {
  const size_t begin = line.find_first_not_of(kBlanks);
  if (begin == line.npos) return line = {};
  line.remove_prefix(begin);
  const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
  line.remove_prefix(word.size());
  return word;
}

// With c-ares' form of a port: IPv6 in brackets. Empty: no address, or one of a link (with a
// scope).
std::string with_port(std::string_view host) {
  const bool is_ipv6 = host.find(':') != host.npos;
  std::string text = is_ipv6 ? "[" + std::string(host) + "]:53" : std::string(host) + ":53";
  const auto address = net::Address::parse(text);
  return address && address->is_ip() ? text : std::string();
}

}  // namespace

const char* SystemServers::path = "/etc/resolv.conf";

bool SystemServers::changed() {
  struct stat status{};
  Sign sign;
  if (::stat(path, &status) == 0) {
    sign.device = status.st_dev;
    sign.inode = status.st_ino;
    sign.size = status.st_size;
    sign.seconds = status.st_mtim.tv_sec;
    sign.nanoseconds = status.st_mtim.tv_nsec;
  }
  const bool other = !looked_ || !(sign == seen_);
  looked_ = true;
  seen_ = sign;
  return other;
}

std::string SystemServers::read() const {
  std::string text;
  const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor >= 0) {
    std::array<char, 4096> block;
    ssize_t count = 0;
    while (text.size() < kMostBytes &&
           (count = ::read(descriptor, block.data(), block.size())) > 0) {
      text.append(block.data(), static_cast<size_t>(count));
    }
    ::close(descriptor);
  }
  return parse(text);
}

std::string SystemServers::parse(std::string_view text) {
  std::string servers;
  int count = 0;
  while (!text.empty() && count < kMostServers) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : text.size());
    if (next_word(line) != "nameserver") continue;
    const std::string server = with_port(next_word(line));
    if (server.empty()) continue;
    if (!servers.empty()) servers += ",";
    servers += server;
    ++count;
  }
  return servers.empty() ? "127.0.0.1:53" : servers;
}

}  // namespace weir::upstream
