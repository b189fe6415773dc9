#include "modules/core/error_log.h"

#include <iterator>
#include <optional>

#include "confparse/value.h"
#include "engine/http/builder.h"

namespace weir {

namespace {

using conf::Compiler;
using conf::Statement;
using conf::Word;

constexpr std::string_view kLevels[] = {"emerg", "alert",  "crit", "error",
                                        "warn",  "notice", "info", "debug"};
// Kinds of debug lines, which may be combined. weir writes none, so each means "debug".
constexpr std::string_view kDebugLevels[] = {"debug_core",  "debug_alloc", "debug_mutex",
                                             "debug_event", "debug_http",  "debug_mail",
                                             "debug_stream"};

template <size_t N>
std::optional<size_t> place_of(std::string_view word, const std::string_view (&words)[N]) {
  for (size_t i = 0; i < N; ++i) {
    if (words[i] == word) return i;
  }
  return {};
}

bool read_level(Compiler& compiler, const Statement& statement, Severity& level) {
  if (statement.argument_count() == 1) {
    level = Severity::error;
    return true;
  }
  bool named = false;
  bool debug = false;
  for (size_t i = 1; i < statement.argument_count(); ++i) {
    const Word& word = statement.words[i + 1];
    const auto place = place_of(word.text, kLevels);
    const bool is_debug_kind = !place && place_of(word.text, kDebugLevels).has_value();
    if (!place && !is_debug_kind) {
      compiler.error(statement, "invalid log level \"" + std::string(word.text) + "\"",
                     "levels are emerg, alert, crit, error, warn, notice, info and debug", &word);
      return false;
    }
    if (named || (place && debug)) {
      compiler.error(statement, "duplicate log level \"" + std::string(word.text) + "\"",
                     "one level: it includes those that are more severe", &word);
      return false;
    }
    if (place) {
      named = true;
      level = static_cast<Severity>(*place + 1);
    } else {
      debug = true;
      level = Severity::debug;
    }
  }
  return true;
}

bool read_place(Compiler& compiler, const Statement& statement, ErrorLogTarget& target) {
  const Word& word = statement.words[1];
  const std::string_view text = word.text;
  if (text == "stderr" || text.empty()) {
    target.kind = ErrorLogTarget::Kind::standard_error;
    target.name = "stderr";
    return true;
  }
  if (text.starts_with("memory:")) {
    compiler.error(statement, "nginx was built without debug support",
                   "a log in memory is for debug lines, and weir writes none", &word);
    return false;
  }
  if (text.starts_with("syslog:")) {
    std::string problem;
    const auto options = parse_syslog(text.substr(7), compiler.world(), problem);
    if (!options) {
      compiler.error(statement, std::move(problem), {}, &word);
      return false;
    }
    target.kind = ErrorLogTarget::Kind::syslog;
    target.name = text;
    target.syslog = std::make_shared<SyslogOptions>(*options);
    return true;
  }
  target.kind = ErrorLogTarget::Kind::file;
  target.name = compiler.full_path(text);
  return true;
}

}  // namespace

bool read_error_log(Compiler& compiler, const Statement& statement, ErrorLogTargets& out) {
  ErrorLogTarget target;
  if (!read_place(compiler, statement, target)) return false;
  if (!read_level(compiler, statement, target.level)) return false;
  if (target.kind == ErrorLogTarget::Kind::file) {
    compiler.state<http::ResourceList>().want_log_file(target.name);
  }
  out.push_back(std::move(target));
  return true;
}

}  // namespace weir
