#include "modules/shared/server_name.h"

#include <algorithm>

#include "confparse/value.h"

namespace weir::shared {

using conf::quoted;

bool read_server_name(conf::Compiler& compiler, const conf::Statement& statement,
                      const conf::Word& word, ServerNameRead& out) {
  const std::string_view text = word.text;
  if ((text.starts_with("*") && (text.size() < 3 || text[1] != '.')) ||
      (text.starts_with(".") && text.size() < 2)) {
    compiler.error(
        statement, "server name " + quoted(text) + " is invalid",
        "a wildcard stands for whole labels at the start or end: *.example.com, www.example.*",
        &word);
    return false;
  }
  if (text.find('/') != std::string_view::npos) {
    compiler.warn(statement, "server name " + quoted(text) + " has suspicious symbols",
                  "a name has no scheme and no path", &word);
  }
  out.name = text;
  if (text.starts_with("~")) {
    if (text.size() == 1) {
      compiler.error(statement, "empty regex in server name " + quoted(text), {}, &word);
      return false;
    }
    const bool ignore_case =
        std::any_of(text.begin() + 1, text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    out.pattern = conf::make_pattern(compiler, statement, text.substr(1), ignore_case);
    return out.pattern != nullptr;
  }
  if (text == "$hostname") out.name = compiler.world().host_name().value;
  out.name = conf::lower_case(out.name);
  return true;
}

bool valid_server_name(std::string_view name) {
  if (name.find("..") != std::string_view::npos) return false;
  const auto stars = std::count(name.begin(), name.end(), '*');
  if (stars == 0) return true;
  return stars == 1 && (name.starts_with("*.") || (name.ends_with(".*") && name.size() > 2));
}

}  // namespace weir::shared
