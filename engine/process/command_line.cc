#include "engine/process/command_line.h"

#include <utility>

#include "engine/process/build_info.h"

namespace weir::process {

namespace {

class Parser {
 public:
  explicit Parser(std::span<const char* const> words) : words_(words) {}

  CommandLine run() {
    for (; at_ < words_.size() && result_.problem.empty(); ++at_) {
      const std::string_view word = words_[at_];
      if (!word.starts_with('-')) {
        result_.problem = "invalid option: \"" + std::string(word) + "\"";
        break;
      }
      letters(word.substr(1));
    }
    return std::move(result_);
  }

 private:
  void letters(std::string_view letters) {
    while (!letters.empty() && result_.problem.empty()) {
      const char letter = letters.front();
      letters.remove_prefix(1);
      if (flag(letter)) continue;
      if (std::string_view("specg").find(letter) == std::string_view::npos) {
        result_.problem = "invalid option: \"" + std::string(1, letter) + "\"";
        return;
      }
      take_value(letter, letters);
      return;
    }
  }

  bool flag(char letter) {
    switch (letter) {
      case '?':
      case 'h':
        result_.version = result_.help = true;
        return true;
      case 'v':
        result_.version = true;
        return true;
      case 'V':
        result_.version = result_.build = true;
        return true;
      case 't':
        result_.test = true;
        return true;
      case 'T':
        result_.test = result_.dump = true;
        return true;
      case 'q':
        result_.quiet = true;
        return true;
      default:
        return false;
    }
  }

  void take_value(char letter, std::string_view attached) {
    std::string value;
    if (!attached.empty()) {
      value = attached;
    } else if (at_ + 1 < words_.size()) {
      value = words_[++at_];
    } else {
      const char* what = letter == 'p'                    ? "directory name"
                         : letter == 'c' || letter == 'e' ? "file name"
                                                          : "parameter";
      result_.problem = std::string("option \"-") + letter + "\" requires " + what;
      return;
    }
    store(letter, std::move(value));
  }

  void store(char letter, std::string value) {
    switch (letter) {
      case 'p':
        result_.prefix = std::move(value);
        break;
      case 'e':
        result_.error_log = std::move(value);
        break;
      case 'c':
        result_.conf_file = std::move(value);
        break;
      case 'g':
        result_.global_directives = std::move(value);
        break;
      default:
        if (value != "stop" && value != "quit" && value != "reopen" && value != "reload") {
          result_.problem = "invalid option: \"-s " + value + "\"";
        }
        result_.signal = std::move(value);
    }
  }

  std::span<const char* const> words_;
  size_t at_ = 0;
  CommandLine result_;
};

std::string with_slash(std::string path) {
  if (!path.empty() && path.back() != '/') path += '/';
  return path;
}

}  // namespace

CommandLine CommandLine::parse(std::span<const char* const> words) {
  return Parser(words).run();
}

std::string Locations::full_path(std::string_view path) const {
  if (path.starts_with('/')) return std::string(path);
  return prefix + std::string(path);
}

Locations Locations::of(const CommandLine& command_line) {
  Locations result;
  result.prefix = with_slash(command_line.prefix.value_or(BuildPaths::prefix()));
  result.conf_file = result.full_path(command_line.conf_file.value_or(BuildPaths::conf_path()));
  result.conf_prefix = result.conf_file.substr(0, result.conf_file.rfind('/') + 1);
  result.error_log = command_line.error_log.value_or(BuildPaths::error_log());
  if (result.error_log != "stderr") result.error_log = result.full_path(result.error_log);
  result.global_directives = command_line.global_directives;
  return result;
}

std::string help_text() {
  return std::string(
             "Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]\n"
             "             [-e filename] [-c filename] [-g directives]\n"
             "\n"
             "Options:\n"
             "  -?,-h         : this help\n"
             "  -v            : show version and exit\n"
             "  -V            : show version and configure options then exit\n"
             "  -t            : test configuration and exit\n"
             "  -T            : test configuration, dump it and exit\n"
             "  -q            : suppress non-error messages during configuration testing\n"
             "  -s signal     : send signal to a master process: stop, quit, reopen, reload\n"
             "  -p prefix     : set prefix path (default: ") +
         BuildPaths::prefix() + ")\n" +
         "  -e filename   : set error log file (default: " + BuildPaths::error_log() + ")\n" +
         "  -c filename   : set configuration file (default: " + BuildPaths::conf_path() + ")\n" +
         "  -g directives : set global directives out of configuration file\n\n";
}

}  // namespace weir::process
