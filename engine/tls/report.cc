#include "engine/tls/report.h"

namespace weir::tls {
namespace {

thread_local Reporter current;

}  // namespace

void set_reporter(Reporter reporter) {
  current = std::move(reporter);
}

void report(Severity severity, const std::string& text) {
  if (current) current(severity, text);
}

}  // namespace weir::tls
