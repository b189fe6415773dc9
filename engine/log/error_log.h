#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/log/severity.h"
#include "engine/log/syslog.h"

namespace weir {

class LogTable;

// Where lines of one error_log go and from which level on.
struct ErrorLogTarget {
  enum class Kind : uint8_t { file, standard_error, syslog };
  Kind kind = Kind::file;
  std::string name;  // full path, or the syslog: text
  Severity level = Severity::error;
  std::shared_ptr<const SyslogOptions> syslog = {};  // of Kind::syslog
  bool operator==(const ErrorLogTarget& other) const {
    return kind == other.kind && name == other.name && level == other.level;
  }
};

// The error_log directives of one scope, resolved. Cheap to copy (shared, immutable list).
using ErrorLogTargets = std::vector<ErrorLogTarget>;

// "emerg", "alert", …, "debug"; the words of error_log and of log lines.
std::string_view severity_word(Severity severity);

// " (111: Connection refused)".
std::string error_number_text(int error_number);

// Writes "2026/11/21 12:00:00 [error] PID#TID: *CONNECTION text\n" in one write(2) to every target
// whose level allows. `connection` 0: no serial. `error_number` adds " (111: Connection refused)".
// `context` follows that. Lines are cut at 2048 bytes as nginx's are: of a text with an error
// number, which keeps its place, the end gives way to "...". Never fails visibly. A file that is
// not in the table is skipped.
class ErrorLog {
 public:
  static constexpr size_t kLongestLine = 2048;
  static constexpr size_t kErrorNumberRoom = 50;

  explicit ErrorLog(LogTable& table) : table_(table) {}
  static bool wants(const ErrorLogTargets& targets, Severity severity);
  void write(const ErrorLogTargets& targets, Severity severity, uint64_t connection,
             std::string_view text, int error_number = 0, std::string_view context = {});
  // The line without its line feed, for programs that print it elsewhere too.
  static std::string line(Severity severity, uint64_t connection, std::string_view text,
                          int error_number = 0, std::string_view context = {});

 private:
  LogTable& table_;
  SyslogSenders syslog_;
};

}  // namespace weir
