#include "modules/shared/listen.h"

#include <string>

#include "confparse/advice.h"
#include "confparse/value.h"

namespace weir::shared {

using conf::quoted;

namespace {

bool read_keepalive(std::string_view value, net::ListenOptions& options) {
  if (value == "on" || value == "off") {
    options.keepalive.mode =
        value == "on" ? net::KeepaliveOption::Mode::on : net::KeepaliveOption::Mode::off;
    return true;
  }
  // idle:interval:count, each may be empty, not all of them
  std::string_view parts[3];
  size_t count = 0;
  while (count < 3) {
    const size_t colon = count < 2 ? value.find(':') : std::string_view::npos;
    parts[count++] = value.substr(0, colon);
    if (colon == std::string_view::npos) break;
    value.remove_prefix(colon + 1);
  }
  if (parts[0].empty() && parts[1].empty() && parts[2].empty()) return false;
  for (size_t i = 0; i < 2; ++i) {
    if (parts[i].empty()) continue;
    const auto seconds = conf::parse_seconds(parts[i]);
    if (!seconds || *seconds == 0) return false;
    (i == 0 ? options.keepalive.idle_seconds : options.keepalive.interval_seconds) =
        static_cast<int>(*seconds);
  }
  if (!parts[2].empty()) {
    const auto number = conf::parse_number(parts[2]);
    if (!number || *number == 0) return false;
    options.keepalive.count = static_cast<int>(*number);
  }
  options.keepalive.mode = net::KeepaliveOption::Mode::on;
  return true;
}

// What people write instead of an address.
std::string listen_help(std::string_view text, std::string_view problem) {
  if (text.find("://") != text.npos) return "an address has no scheme: write 80 or 127.0.0.1:80";
  if (text.find('/') != text.npos && !text.starts_with("unix:")) {
    return "an address has no path; a unix socket is written unix:/path";
  }
  if (text.starts_with(':') && problem == "no host") {
    return "write " + std::string(text.substr(1)) + " or *" + std::string(text) +
           " for all addresses";
  }
  if (problem.starts_with("invalid port")) {
    return problem == "invalid port" ? "a port is a number from 1 to 65535" : "";
  }
  return {};
}

}  // namespace

std::optional<conf::Url> read_listen_address(conf::Compiler& compiler,
                                             const conf::Statement& statement,
                                             uint16_t default_port) {
  conf::Url url = conf::parse_url(compiler.world(), statement.argument(0),
                                  {.default_port = default_port, .listen = true});
  if (url.ok()) return url;
  compiler.error(
      statement,
      url.problem + " in " + quoted(statement.argument(0)) + " of the \"listen\" directive",
      listen_help(statement.argument(0), url.problem), &statement.words[1]);
  return std::nullopt;
}

bool read_listen_flag(std::string_view text, ListenLine& line) {
  if (text == "default_server") {
    line.default_server = true;
  } else if (text == "bind") {
    line.sets_options = true;
  } else if (text == "deferred") {
    line.options.deferred = true;
    line.sets_options = true;
  } else if (text == "reuseport") {
    line.options.reuseport = true;
    line.sets_options = true;
  } else if (text == "proxy_protocol") {
    line.proxy_protocol = true;
  } else if (text == "ssl") {
    line.ssl = true;
  } else {
    return false;
  }
  return true;
}

bool is_listen_value(std::string_view text) {
  for (const std::string_view name : {"backlog=", "fastopen=", "rcvbuf=", "sndbuf=", "ipv6only=o",
                                      "accept_filter=", "so_keepalive="}) {
    if (text.starts_with(name)) return true;
  }
  return false;
}

bool read_listen_value(conf::Compiler& compiler, const conf::Statement& statement,
                       const conf::Word& word, ListenLine& line) {
  net::ListenOptions& options = line.options;
  const size_t equals = word.text.find('=');
  const std::string_view name = word.text.substr(0, equals);
  const std::string_view value = word.text.substr(equals + 1);
  const auto invalid = [&](std::string help) {
    compiler.error(statement, "invalid " + std::string(name) + " " + quoted(word.text),
                   std::move(help), &word);
    return false;
  };
  if (name == "backlog" || name == "fastopen") {
    const auto number = conf::parse_number(value);
    if (!number || (name == "backlog" && *number == 0)) {
      return invalid(name == "backlog" ? "a number of waiting connections, at least 1"
                                       : "a number of connections");
    }
    (name == "backlog" ? options.backlog : options.fast_open) = static_cast<int>(*number);
  } else if (name == "rcvbuf" || name == "sndbuf") {
    const auto size = conf::parse_size(value);
    if (!size) return invalid(conf::explain_size(value, false));
    (name == "rcvbuf" ? options.receive_buffer : options.send_buffer) = static_cast<int>(*size);
  } else if (name == "ipv6only" && value.starts_with('o')) {
    if (value != "on" && value != "off") {
      compiler.error(statement, "invalid ipv6only flags " + quoted(value),
                     "ipv6only=on or ipv6only=off", &word);
      return false;
    }
    options.ipv6only = value == "on";
  } else if (name == "accept_filter") {
    compiler.warn(
        statement,
        "accept filters " + quoted(word.text) + " are not supported on this platform, ignored", {},
        &word);
    return true;
  } else if (name == "so_keepalive") {
    if (!read_keepalive(value, options)) {
      compiler.error(statement, "invalid so_keepalive value: " + quoted(value),
                     "on, off, or [idle]:[interval]:[count]", &word);
      return false;
    }
  } else {
    compiler.invalid_parameter(statement, word);
    return false;
  }
  line.sets_options = true;
  line.backlog |= name == "backlog";
  return true;
}

}  // namespace weir::shared
