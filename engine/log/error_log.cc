#include "engine/log/error_log.h"

#include <unistd.h>

#include <cstring>

#include "engine/log/clock.h"
#include "engine/log/log_table.h"

namespace weir {

std::string_view severity_word(Severity severity) {
  constexpr std::string_view words[] = {"",     "emerg",  "alert", "crit", "error",
                                        "warn", "notice", "info",  "debug"};
  return words[static_cast<size_t>(severity)];
}

std::string error_number_text(int error_number) {
  if (error_number == 0) return {};
  char buffer[128] = "";
  // The GNU variant: it may answer with a text of its own.
  const char* text = strerror_r(error_number, buffer, sizeof buffer);
  return " (" + std::to_string(error_number) + ": " + text + ")";
}

bool ErrorLog::wants(const ErrorLogTargets& targets, Severity severity) {
  for (const ErrorLogTarget& target : targets) {
    if (severity <= target.level) return true;
  }
  return false;
}

std::string ErrorLog::line(Severity severity, uint64_t connection, std::string_view text,
                           int error_number, std::string_view context) {
  std::string line;
  line.reserve(text.size() + context.size() + 96);
  line += clock_text::error_log(clock_text::now_milliseconds());
  line += " [";
  line += severity_word(severity);
  line += "] ";
  line += std::to_string(getpid());
  line += '#';
  line += std::to_string(gettid());
  line += ": ";
  if (connection != 0) {
    line += '*';
    line += std::to_string(connection);
    line += ' ';
  }
  line += text;
  if (error_number != 0 && line.size() > kLongestLine - kErrorNumberRoom) {
    line.resize(kLongestLine - kErrorNumberRoom);
    line += "...";
  }
  line += error_number_text(error_number);
  line += context;
  if (line.size() > kLongestLine - 1) line.resize(kLongestLine - 1);
  return line;
}

void ErrorLog::write(const ErrorLogTargets& targets, Severity severity, uint64_t connection,
                     std::string_view text, int error_number, std::string_view context) {
  if (!wants(targets, severity)) return;
  std::string message = line(severity, connection, text, error_number, context);
  for (const ErrorLogTarget& target : targets) {
    if (severity > target.level) continue;
    if (target.kind == ErrorLogTarget::Kind::syslog) {
      if (target.syslog) syslog_.send(*target.syslog, syslog_severity(severity), message);
      continue;
    }
    const int descriptor = target.kind == ErrorLogTarget::Kind::standard_error
                               ? STDERR_FILENO
                               : table_.descriptor(target.name);
    if (descriptor < 0) continue;
    message += '\n';
    // A full disk must not stop the service: the line is lost.
    [[maybe_unused]] const auto written = ::write(descriptor, message.data(), message.size());
    message.pop_back();
  }
}

}  // namespace weir
