#pragma once

#include <string>
#include <string_view>

#include "engine/log/error_log.h"
#include "engine/log/log_table.h"

namespace weir::process {

// The log of a program outside of requests: the master, a worker, weir -t. Until a configuration is
// in force: the file of -e (or of the build), from notice on. While the program has its terminal,
// problems from warn on are repeated there as "nginx: [emerg] text".
class ProcessLog {
 public:
  // Opens `error_log` (a full path or "stderr"); says so on stderr when it cannot.
  explicit ProcessLog(const std::string& error_log);

  void write(Severity severity, std::string_view text, int error_number = 0);
  bool wants(Severity severity) const { return ErrorLog::wants(targets_, severity); }

  // Lines go to `targets` from now on; their files are in table().
  void use(const ErrorLogTargets& targets) { targets_ = targets; }
  const ErrorLogTargets& targets() const { return targets_; }
  // The terminal is gone (or belongs to somebody else) from now on.
  void leave_terminal() { terminal_ = false; }
  bool has_terminal() const { return terminal_; }
  // Lines from warn on are also added to `text`, as they would stand on the terminal, each once
  // however often it is tried; null: no more.
  void capture(std::string* text) { captured_ = text; }
  // What is written to descriptor 2 goes to the first log file.
  void redirect_standard_error();

  LogTable& table() { return table_; }
  ErrorLog& log() { return log_; }

 private:
  bool writes_to_standard_error() const;
  LogTable table_;
  ErrorLog log_;
  ErrorLogTargets targets_;
  bool terminal_ = true;
  std::string* captured_ = nullptr;
};

// Prints to descriptor 2, without any log.
void print_error(std::string_view text);

}  // namespace weir::process
