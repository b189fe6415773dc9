#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "confparse/ast.h"
#include "confparse/severity.h"

namespace weir::conf {

using weir::Severity;

// One problem. `text` is nginx's own, without "nginx: [emerg] " and without the place.
struct Diagnostic {
  Severity severity = Severity::emerg;
  std::string text;
  bool placed = false;  // nginx appends " in FILE:LINE"
  Span nginx_place;     // its end gives nginx's FILE:LINE (the line that its lexer stood on)
  Span span;            // what we point at: the exact word; empty file range when there is none
  std::string help;     // our explanation or suggestion; may be empty
  // nginx's order: reading number, then stage at that number (a closing brace has several), then
  // the order of reporting.
  uint32_t number = 0;
  uint32_t stage = 0;
};

}  // namespace weir::conf
