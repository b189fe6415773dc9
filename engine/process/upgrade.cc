#include "engine/process/upgrade.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/value.h"
#include "engine/process/title.h"

namespace weir::process {

namespace {

constexpr char kVariable[] = "NGINX";
constexpr std::string_view kPrefix = "NGINX=";

int socket_option(int descriptor, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : 0;
}

// What can be seen of a socket that somebody else opened; the rest is told to it again.
bool describe(int descriptor, net::ListenOptions& options, ProcessLog& log) {
  net::Address address = net::Address::local_of(descriptor);
  const int type = socket_option(descriptor, SOL_SOCKET, SO_TYPE);
  if (address.empty() || type == 0) {
    log.write(Severity::crit,
              "getsockname() of the inherited socket #" + std::to_string(descriptor) + " failed",
              errno);
    return false;
  }
  options.address =
      address.is_unix() ? net::Address::unix_path(address.path()) : std::move(address);
  options.type = type;
  options.backlog = -1;  // unknown: set again
  options.reuseport =
      !options.address.is_unix() && socket_option(descriptor, SOL_SOCKET, SO_REUSEPORT) != 0;
  return true;
}

void add(ListenerSet& set, int descriptor, net::ListenOptions options) {
  for (ListeningSockets& known : set.sockets) {
    if (!same_listener(known.options, options)) continue;
    known.descriptors.push_back(descriptor);
    return;
  }
  ListeningSockets sockets;
  sockets.options = std::move(options);
  sockets.descriptors.push_back(descriptor);
  set.sockets.push_back(std::move(sockets));
}

// After the fork, before the exec: what the new program must find as a program does at its start.
void restore_signals() {
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

bool is_successor() {
  return getenv(kVariable) != nullptr;
}

ListenerSet take_inherited_sockets(ProcessLog& log) {
  ListenerSet set;
  const char* value = getenv(kVariable);
  if (value == nullptr) return set;
  const std::string text = value;
  unsetenv(kVariable);
  log.write(Severity::notice, "using inherited sockets from \"" + text + "\"");
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find_first_of(":;", at);
    const std::string word = text.substr(at, end == text.npos ? text.npos : end - at);
    const auto number = conf::parse_number(word);
    if (end == text.npos || !number || *number > INT32_MAX) {
      log.write(Severity::emerg, "invalid socket number \"" + word +
                                     "\" in NGINX environment variable, ignoring the rest of the "
                                     "variable");
      break;
    }
    at = end + 1;
    const int descriptor = static_cast<int>(*number);
    net::ListenOptions options;
    if (!describe(descriptor, options, log)) continue;
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    add(set, descriptor, std::move(options));
  }
  return set;
}

pid_t start_new_binary(const ListenerSet& listeners, ProcessLog& log) {
  std::string inherited(kPrefix);
  std::vector<int> descriptors;
  for (const ListeningSockets& sockets : listeners.sockets) {
    for (const int descriptor : sockets.descriptors) {
      if (descriptor < 0) continue;
      descriptors.push_back(descriptor);
      inherited += std::to_string(descriptor) + ";";
    }
  }
  std::vector<std::string> words = command_line();
  if (words.empty()) return -EINVAL;
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> variables{inherited.data()};
  for (char** variable = environ; *variable; ++variable) {
    if (!std::string_view(*variable).starts_with(kPrefix)) variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return -errno;
  if (pid > 0) return pid;
  for (const int descriptor : descriptors) fcntl(descriptor, F_SETFD, 0);
  restore_signals();
  execve(arguments[0], arguments.data(), variables.data());
  log.write(Severity::alert,
            "execve() failed while executing new binary process \"" + words[0] + "\"", errno);
  _exit(1);
}

}  // namespace weir::process
