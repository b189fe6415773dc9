#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/regex.h"
#include "confparse/variables.h"
#include "engine/http/message.h"

namespace weir::http {

// A match block: what the answer to a health check has to be. All tests have to hold.
class HealthMatch {
 public:
  // Reads the block of `at`; reports what is wrong.
  void read(conf::Compiler& compiler, const conf::Statement& at);

  // (A block without status lines takes every status.)
  bool takes_status(int status) const;
  bool takes_headers(const HeaderList& headers) const;
  bool wants_body() const { return !bodies_.empty(); }
  bool takes_body(std::string_view body) const;
  bool takes_variables(conf::VariableSource& source) const;

 private:
  struct StatusTest {
    bool negated = false;
    std::vector<std::pair<int, int>> ranges;
  };
  struct HeaderTest {
    enum class Kind : uint8_t { present, equal, regex };
    Kind kind = Kind::present;
    bool negated = false;
    std::string name;
    std::string value;
    Ref<conf::Regex> regex;
  };
  struct BodyTest {
    bool negated = false;
    Ref<conf::Regex> regex;
  };
  void read_line(conf::Compiler& compiler, const conf::Statement& line);
  void read_status(conf::Compiler& compiler, const conf::Statement& line);
  void read_header(conf::Compiler& compiler, const conf::Statement& line);
  void read_body(conf::Compiler& compiler, const conf::Statement& line);
  void read_require(conf::Compiler& compiler, const conf::Statement& line);
  static bool holds(const HeaderTest& test, const HeaderList& headers);

  std::vector<StatusTest> statuses_;
  std::vector<HeaderTest> headers_;
  std::vector<BodyTest> bodies_;
  std::vector<conf::VariableId> required_;
};

}  // namespace weir::http
