#pragma once

#include <functional>
#include <string>

#include "engine/log/severity.h"

namespace weir::tls {

// Where this thread's TLS tells what belongs to no connection (OCSP). Set by the worker; without it
// nothing is told.
using Reporter = std::function<void(Severity, const std::string&)>;
void set_reporter(Reporter reporter);
void report(Severity severity, const std::string& text);

}  // namespace weir::tls
