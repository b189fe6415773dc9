#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/template.h"
#include "confparse/variables.h"

// `split_clients`, once for http and stream: a value by the hash of a text, in given shares.
namespace weir::shared {

// MurmurHash2, 32 bits, seed 0: what nginx spreads by.
uint32_t murmur_hash2(std::string_view text);

// One compiled block; lives as long as the generation.
class SplitClients {
 public:
  // Reads the block; reports nginx's errors. Null after an error.
  static std::unique_ptr<SplitClients> read(conf::Compiler& compiler,
                                            const conf::Statement& statement);
  conf::Value evaluate(conf::VariableSource& source) const;
  const conf::Template& source() const { return source_; }

 private:
  struct Part {
    uint32_t end = 0;  // hashes below it; 0: all (the rest, "*")
    std::string value;
  };
  conf::Template source_;
  std::vector<Part> parts_;
};

}  // namespace weir::shared
