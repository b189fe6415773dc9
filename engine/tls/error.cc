#include "engine/tls/error.h"

#include <openssl/err.h>

namespace weir::tls {

std::string take_errors() {
  std::string text;
  for (;;) {
    const char* data = nullptr;
    int flags = 0;
    const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags);
    if (code == 0) break;
    char line[256];
    ERR_error_string_n(code, line, sizeof line);
    text += text.empty() ? " (SSL: " : " ";
    text += line;
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != 0) {
      text += ":";
      text += data;
    }
  }
  if (!text.empty()) text += ")";
  return text;
}

void clear_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

}  // namespace weir::tls
