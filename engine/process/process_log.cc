#include "engine/process/process_log.h"

#include <unistd.h>

#include <cerrno>

namespace weir::process {

void print_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

ProcessLog::ProcessLog(const std::string& error_log) : log_(table_) {
  ErrorLogTarget target;
  target.name = error_log;
  target.level = Severity::notice;
  if (error_log == "stderr") {
    target.kind = ErrorLogTarget::Kind::standard_error;
  } else if (const int error = table_.open(error_log)) {
    print_error("nginx: [alert] could not open error log file: open() \"" + error_log +
                "\" failed" + error_number_text(error) + "\n");
    // As nginx: there is still the terminal.
    target.kind = ErrorLogTarget::Kind::standard_error;
  }
  targets_.push_back(std::move(target));
}

bool ProcessLog::writes_to_standard_error() const {
  for (const ErrorLogTarget& target : targets_) {
    if (target.kind == ErrorLogTarget::Kind::standard_error) return true;
  }
  return false;
}

void ProcessLog::write(Severity severity, std::string_view text, int error_number) {
  log_.write(targets_, severity, 0, text, error_number);
  if (severity > Severity::warn) return;
  const bool shown = terminal_ && !writes_to_standard_error();
  if (!shown && !captured_) return;
  std::string line = "nginx: [";
  line += severity_word(severity);
  line += "] ";
  line += text;
  line += error_number_text(error_number);
  line += '\n';
  if (shown) print_error(line);
  if (captured_ && captured_->find(line) == std::string::npos) *captured_ += line;
}

void ProcessLog::redirect_standard_error() {
  for (const ErrorLogTarget& target : targets_) {
    if (target.kind == ErrorLogTarget::Kind::standard_error) return;
    if (target.kind != ErrorLogTarget::Kind::file) continue;
    const int descriptor = table_.descriptor(target.name);
    if (descriptor >= 0) dup2(descriptor, STDERR_FILENO);
    return;
  }
}

}  // namespace weir::process
