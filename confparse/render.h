#pragma once

#include <span>
#include <string>
#include <string_view>

#include "confparse/diagnostic.h"
#include "confparse/source.h"

namespace weir::conf {

std::string_view severity_name(Severity severity);

// "TEXT in FILE:LINE": a problem as nginx logs it, without level and newline.
std::string nginx_text(const Diagnostic& diagnostic, const Sources& sources);

// What `nginx -t` prints about sorted problems: one line each, `nginx: [LEVEL] TEXT in FILE:LINE`,
// up to the first that fails the configuration. Ends in a newline unless empty.
std::string render_nginx(std::span<const Diagnostic> sorted, const Sources& sources);

// Our own view of all problems, each as
//   FILE:LINE:COLUMN: LEVEL: TEXT
//      LINE | source text
//           |    ^~~~
//           help
std::string render_explained(std::span<const Diagnostic> sorted, const Sources& sources);

// The whole answer to `-t` for a configuration with problems: nginx's lines, then, if it failed,
// `nginx: configuration file FILE test failed`, then the explained view of all problems.
std::string render(std::span<const Diagnostic> sorted, const Sources& sources,
                   std::string_view configuration_file, bool explain = true);

// All problems as a JSON array of objects: severity, text, file, line, column, end_column,
// nginx_line, help.
std::string render_json(std::span<const Diagnostic> sorted, const Sources& sources);

}  // namespace weir::conf
