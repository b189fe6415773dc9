#include "modules/shared/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <unordered_map>

#include "confparse/nearest.h"
#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/worker.h"

namespace weir::shared {

using namespace conf;

namespace {

bool read_target(Compiler& compiler, const Statement& statement, AccessLog& log) {
  const Word& word = statement.words[1];
  if (word.text.starts_with("syslog:")) {
    std::string problem;
    auto options = parse_syslog(word.text.substr(7), compiler.world(), problem);
    if (!options) {
      compiler.error(statement, problem, {}, &word);
      return false;
    }
    log.syslog = std::make_shared<const SyslogOptions>(std::move(*options));
  } else if (word.text.find('$') != std::string_view::npos) {
    log.path_template = compiler.make_path_template(statement, word, word.text);
  } else {
    // nginx takes an empty name for the standard error stream.
    log.path = word.text.empty() ? "/dev/stderr" : compiler.full_path(word.text);
    // The default file is opened only where some server uses it (finish).
    if (!http::is_default_statement(compiler, statement))
      compiler.state<http::ResourceList>().want_log_file(log.path);
  }
  return true;
}

// buffer=, flush=, gzip, gzip=, if=
bool read_option(Compiler& compiler, const Statement& statement, const Word& word, AccessLog& log) {
  const std::string_view text = word.text;
  if (text.starts_with("buffer=")) {
    const auto size = parse_size(text.substr(7));
    if (!size || *size == 0) {
      compiler.error(statement, "invalid buffer size " + quoted(text.substr(7)),
                     conf::explain_size(text.substr(7), false), &word);
      return false;
    }
    log.sink.buffer_size = *size;
  } else if (text.starts_with("flush=")) {
    const auto time = parse_milliseconds(text.substr(6));
    if (!time || *time == 0) {
      compiler.error(statement, "invalid flush time " + quoted(text.substr(6)),
                     conf::explain_time(text.substr(6)), &word);
      return false;
    }
    log.sink.flush_milliseconds = static_cast<uint64_t>(*time);
  } else if (text == "gzip" || text.starts_with("gzip=")) {
    if (log.sink.buffer_size == 0) log.sink.buffer_size = 64 * 1024;
    log.sink.gzip_level = 1;
    if (text.size() > 4) {
      const auto level = parse_number(text.substr(5));
      if (!level || *level < 1 || *level > 9) {
        compiler.error(statement, "invalid compression level " + quoted(text.substr(5)),
                       "a number from 1 (fast) to 9 (small)", &word);
        return false;
      }
      log.sink.gzip_level = static_cast<int>(*level);
    }
  } else if (text.starts_with("if=")) {
    log.condition = compiler.make_template(statement, word, text.substr(3));
  } else {
    compiler.invalid_parameter(statement, word);
    return false;
  }
  return true;
}

bool check_options(Compiler& compiler, const Statement& statement, const AccessLog& log) {
  if (log.sink.flush_milliseconds != 0 && log.sink.buffer_size == 0) {
    compiler.error(statement,
                   "no buffer is defined for access_log " + quoted(statement.argument(0)),
                   "flush= says how long lines may wait in a buffer: add buffer=SIZE");
    return false;
  }
  if (log.sink.buffer_size != 0 && log.syslog) {
    compiler.error(statement, "logs to syslog cannot be buffered",
                   "leave buffer=, flush= and gzip out");
    return false;
  }
  if (log.sink.buffer_size != 0 && !log.path_template.empty()) {
    compiler.error(statement, "buffered logs cannot have variables in name",
                   "leave buffer=, flush= and gzip out, or the variables");
    return false;
  }
  return true;
}

// The same file with other buffer settings anywhere in the configuration is refused, as nginx does.
class SinkOptions final : public CompilerState {
 public:
  std::unordered_map<std::string, AccessSinkOptions> by_path;
};

bool check_conflict(Compiler& compiler, const Statement& statement, const AccessLog& log) {
  if (log.path.empty() || log.sink == AccessSinkOptions{}) return true;
  auto [known, is_new] = compiler.state<SinkOptions>().by_path.emplace(log.path, log.sink);
  if (is_new || known->second == log.sink) return true;
  compiler.error(statement,
                 "access_log " + quoted(statement.argument(0)) +
                     " already defined with conflicting parameters",
                 "one file has one buffer: give every access_log of it the same options");
  return false;
}

}  // namespace

bool read_access_log(conf::Compiler& compiler, const conf::Statement& statement,
                     const LogFormats& formats, std::string_view default_format, AccessLog& log) {
  if (!read_target(compiler, statement, log)) return false;
  const bool named = statement.argument_count() > 1;
  if (!named && default_format.empty()) {
    compiler.error(statement, "log format is not specified", "name a log_format after the file");
    return false;
  }
  const std::string_view name = named ? statement.argument(1) : default_format;
  for (const auto& format : formats.all) {
    if (format->name == name && format->number <= statement.number) log.format = format;
  }
  if (!log.format) {
    conf::Nearest nearest(name);
    for (const auto& format : formats.all) nearest.consider(format->name);
    std::string help = nearest.found() ? "did you mean " + quoted(nearest.best()) + "? " : "";
    const bool option = name.find('=') != name.npos || name == "gzip";
    help += option ? "The format's name comes before the options"
                   : "A log_format must stand before its use";
    compiler.error(statement, "unknown log format " + quoted(name), std::move(help),
                   &statement.words[2]);
    return false;
  }
  for (size_t i = 3; i < statement.words.size(); ++i) {
    if (!read_option(compiler, statement, statement.words[i], log)) return false;
  }
  return check_options(compiler, statement, log) && check_conflict(compiler, statement, log);
}

bool read_log_file_cache(conf::Compiler& compiler, const conf::Statement& statement,
                         FileCache& cache) {
  if (statement.argument(0) == "off" && statement.argument_count() == 1) {
    return true;
  }
  for (size_t i = 1; i < statement.words.size(); ++i) {
    const Word& word = statement.words[i];
    const size_t equals = word.text.find('=');
    const std::string_view name = word.text.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : word.text.substr(equals + 1);
    if (word.text == "off") continue;
    const bool is_time = name == "inactive" || name == "valid";
    const auto number = is_time ? parse_seconds(value) : parse_number(value);
    int64_t* to = name == "max"        ? &cache.max
                  : name == "inactive" ? &cache.inactive_seconds
                  : name == "valid"    ? &cache.valid_seconds
                  : name == "min_uses" ? &cache.min_uses
                                       : nullptr;
    if (!to || !number) {
      compiler.error(statement, "invalid \"open_log_file_cache\" parameter " + quoted(word.text),
                     {}, &word);
      return false;
    }
    *to = *number;
  }
  if (cache.max == 0 && statement.argument(statement.argument_count() - 1) == "off")
    cache = {};
  else if (cache.max == 0) {
    compiler.error(statement, "\"open_log_file_cache\" must have \"max\" parameter");
    return false;
  }
  return true;
}

namespace {

// Log files whose names are known only at run time, kept open by open_log_file_cache.
struct OpenFile {
  int descriptor = -1;
  ino_t inode = 0;
  int64_t last_used = 0;
  int64_t checked = 0;
  int64_t uses = 0;
};

class OpenFiles {
 public:
  ~OpenFiles() {
    for (auto& [path, file] : files_) close_file(file);
  }

  int write(const FileCache& rules, const std::string& path, std::string_view line, int64_t now) {
    OpenFile* file = rules.max > 0 ? &use(rules, path, now) : nullptr;
    const bool is_open = file && is_current(rules, path, *file, now);
    const int descriptor = is_open ? file->descriptor : open_file(path);
    if (descriptor < 0) return errno;
    // A log line that cannot be written is lost, as with nginx.
    [[maybe_unused]] const ssize_t written = ::write(descriptor, line.data(), line.size());
    if (is_open) return 0;
    struct stat info{};
    if (!file || file->uses < rules.min_uses || ::fstat(descriptor, &info) != 0) {
      ::close(descriptor);
      return 0;
    }
    file->descriptor = descriptor;
    file->inode = info.st_ino;
    file->checked = now;
    return 0;
  }

 private:
  static int open_file(const std::string& path) {
    return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  }

  static void close_file(OpenFile& file) {
    if (file.descriptor >= 0) ::close(file.descriptor);
    file.descriptor = -1;
  }

  // Still the file of that name?
  static bool is_current(const FileCache& rules, const std::string& path, OpenFile& file,
                         int64_t now) {
    if (file.descriptor < 0) return false;
    if (now - file.checked < rules.valid_seconds) return true;
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0 || info.st_ino != file.inode) {
      close_file(file);
      return false;
    }
    file.checked = now;
    return true;
  }

  // Counts a use; a file is kept open from its min_uses-th on.
  OpenFile& use(const FileCache& rules, const std::string& path, int64_t now) {
    auto found = files_.find(path);
    if (found == files_.end()) {
      make_room(rules, now);
      found = files_.emplace(path, OpenFile{}).first;
    }
    OpenFile& file = found->second;
    file.last_used = now;
    ++file.uses;
    return file;
  }

  void make_room(const FileCache& rules, int64_t now) {
    auto oldest = files_.end();
    for (auto at = files_.begin(); at != files_.end();) {
      if (now - at->second.last_used > rules.inactive_seconds) {
        close_file(at->second);
        at = files_.erase(at);
        continue;
      }
      if (oldest == files_.end() || at->second.last_used < oldest->second.last_used) oldest = at;
      ++at;
    }
    if (static_cast<int64_t>(files_.size()) < rules.max) return;
    close_file(oldest->second);
    files_.erase(oldest);
  }

  std::unordered_map<std::string, OpenFile> files_;
};

}  // namespace

int Lines::write(Worker& worker, const AccessLog& log, const FileCache& cache,
                 std::string_view path, std::string_view line) {
  if (log.syslog) {
    worker.access_sinks->syslog().send(*log.syslog, log.syslog->severity,
                                       line.substr(0, line.size() - 1));
  } else if (!log.path_template.empty()) {
    static thread_local OpenFiles files;
    return files.write(cache, std::string(path), line, worker.loop.wall_milliseconds() / 1000);
  } else {
    worker.access_sinks->find(log.path, log.sink).append(line);
  }
  return 0;
}

}  // namespace weir::shared
