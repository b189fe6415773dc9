#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/variables.h"

// log_format, once for http and stream: text with variables, escaped for the log.
namespace weir::shared {

enum class LogEscape : uint8_t { standard, json, none };

// Appends a value as it stands in the log: nginx's \xHH for what is no plain ASCII, JSON's escapes,
// or the bytes; a value that was not found is "-" in the standard form and nothing in the others.
void append_escaped(std::string& line, conf::Value value, LogEscape escape);

class LogFormat {
 public:
  struct Piece {
    std::string literal;  // when variable == kNoVariable
    conf::VariableId variable = conf::kNoVariable;
  };
  std::string name;
  LogEscape escape = LogEscape::standard;
  std::vector<Piece> pieces;
  uint32_t number = 0;  // reading number; 0: built in. Uses that were read earlier don't see it.

  // Without the line feed.
  void append_line(std::string& line, conf::VariableSource& source) const;
};

// The formats of one subsystem while it is compiled.
class LogFormats final {
 public:
  // Reads `log_format name [escape=…] text …`.
  void read(conf::Compiler& compiler, const conf::Statement& statement);
  // Formats may be used only after they were read; null when there is none of that name.
  const LogFormat* find(std::string_view name) const;
  // A format made from text, for the built-in "combined".
  LogFormat& add_built_in(conf::Compiler& compiler, std::string name, std::string_view text);
  std::vector<std::shared_ptr<LogFormat>> all;

 private:
  bool parse(conf::Compiler& compiler, const conf::Statement* at, std::string_view text,
             LogFormat& format);
};

}  // namespace weir::shared
