#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::process {

// nginx's command line: -?hvVtTq, -s -p -e -c -g with their value attached or in the next word;
// letters can be combined ("-tq", "-tc FILE").
struct CommandLine {
  bool help = false;
  bool version = false;
  bool build = false;  // -V
  bool test = false;
  bool dump = false;
  bool quiet = false;
  std::string signal;                 // stop, quit, reopen, reload
  std::optional<std::string> prefix;  // as given; none: the build's
  std::optional<std::string> error_log;
  std::optional<std::string> conf_file;
  std::string global_directives;

  // nginx's text, without "nginx: ", when the words are wrong.
  std::string problem;

  static CommandLine parse(std::span<const char* const> words);
};

// What the command line and the build say together. Paths below a relative prefix stay relative, as
// in nginx's messages; the master never changes its folder.
struct Locations {
  std::string prefix;  // ends in '/', or empty
  std::string conf_file;
  std::string conf_prefix;  // its folder, ends in '/'
  std::string error_log;    // full path or "stderr"
  std::string global_directives;

  static Locations of(const CommandLine& command_line);
  std::string full_path(std::string_view path) const;
};

std::string help_text();

}  // namespace weir::process
