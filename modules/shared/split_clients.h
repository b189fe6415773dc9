#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/schema.h"
#include "confparse/template.h"
#include "confparse/variables.h"

// `split_clients`, once for http and stream: a value by the hash of a text, in given shares.
namespace weir::shared {

// MurmurHash2, 32 bits, seed 0: what nginx spreads by.
uint32_t murmur_hash2(std::string_view text);

// One compiled block; lives as long as the generation.
class SplitClients {
 public:
  // Reads the statement and defines its variable; reports nginx's errors. Null after an error, else
  // what the graph has to keep.
  static std::unique_ptr<SplitClients> define(conf::Compiler& compiler,
                                              const conf::Statement& statement);
  conf::Value evaluate(conf::VariableSource& source) const;

 private:
  static std::unique_ptr<SplitClients> read(conf::Compiler& compiler,
                                            const conf::Statement& statement);
  struct Part {
    uint32_t end = 0;  // hashes below it; 0: all (the rest, "*")
    std::string value;
  };
  conf::Template source_;
  std::vector<Part> parts_;
};

// The row, but for where it may stand; `set` keeps what define() gives.
constexpr conf::Directive split_clients_row(uint32_t where, conf::SetFunction set) {
  return {
      .name = "split_clients",
      .where = where,
      .args = {2, 2},
      .form = conf::Form::block,
      .repeat = conf::Repeat::collect,
      .set = set,
      .doc = "Defines a variable that takes given values in given shares, by the hash of a text."};
}

}  // namespace weir::shared
