#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "confparse/compiler.h"
#include "confparse/regex.h"

namespace weir::stream {

// A match block: what a health check sends, and what the server's answer has to hold.
class HealthMatch {
 public:
  // Reads the block of `at`; reports what is wrong.
  void read(conf::Compiler& compiler, const conf::Statement& at);

  const std::optional<std::string>& send() const { return send_; }
  bool expects() const { return regex_ || literal_; }
  // What has come so far holds what is expected.
  bool is_met_by(std::string_view data) const;

 private:
  void read_line(conf::Compiler& compiler, const conf::Statement& line);
  void read_expect(conf::Compiler& compiler, const conf::Statement& line);

  std::optional<std::string> send_;
  std::optional<std::string> literal_;
  Ref<conf::Regex> regex_;
};

// "\x0d" becomes the byte of that number; all else stays.
std::string decode_hexadecimal(std::string_view text);

}  // namespace weir::stream
