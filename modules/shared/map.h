#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/pattern.h"
#include "confparse/setters.h"
#include "confparse/template.h"
#include "confparse/variables.h"

// `map`, once for http and stream: what differs is who evaluates (a VariableSource).
namespace weir::shared {

// One compiled map block; lives as long as the generation.
class Map {
 public:
  // Reads the block; reports nginx's errors. Null after an error.
  static std::unique_ptr<Map> read(conf::Compiler& compiler, const conf::Statement& statement);
  // The same for `map $a $b { … }`, and defines the variable that it names.
  static std::unique_ptr<Map> define(conf::Compiler& compiler, const conf::Scope& scope,
                                     const conf::Statement& statement);
  conf::Value evaluate(conf::VariableSource& source) const;
  bool is_volatile() const { return volatile_; }
  // Variables that the value is made of.
  std::vector<conf::VariableId> reads() const;
  // Are there keys besides expressions and the default?
  bool has_keys() const { return !exact_.empty() || !leading_.empty() || !trailing_.empty(); }

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  // Text keys to indexes into results_.
  using Keys = std::unordered_map<std::string, uint32_t, TextHash, std::equal_to<>>;

  void read_line(conf::Compiler& compiler, const conf::Statement& line);
  void read_special(conf::Compiler& compiler, const conf::Statement& line);
  void read_expression(conf::Compiler& compiler, const conf::Statement& line, std::string_view key,
                       uint32_t result);
  void read_key(conf::Compiler& compiler, const conf::Statement& line, std::string_view key,
                uint32_t result);
  const uint32_t* find(std::string_view key) const;
  const uint32_t* find_host(std::string_view key) const;

  conf::Template source_;
  std::vector<conf::Template> results_;
  Keys exact_;
  Keys leading_;   // ".example.com" of "*.example.com" (hostnames)
  Keys trailing_;  // "www.example." of "www.example.*" (hostnames)
  std::vector<std::pair<std::unique_ptr<conf::Pattern>, uint32_t>> expressions_;
  int64_t default_ = -1;
  bool hostnames_ = false;
  bool volatile_ = false;
  bool failed_ = false;
};

struct MapTuning {
  conf::Number hash_max_size, hash_bucket_size;
};

// The rows, but for where they may stand; `set` keeps what define() gives.
constexpr std::array<conf::Directive, 3> map_rows(uint32_t where, conf::SetFunction set) {
  return {{
      {.name = "map",
       .where = where,
       .args = {2, 2},
       .form = conf::Form::block,
       .repeat = conf::Repeat::collect,
       .set = set,
       .doc = "Defines a variable whose value depends on another's."},
      {.name = "map_hash_max_size",
       .where = where,
       .args = {1, 1},
       .initial = "2048",
       .set = conf::into<&MapTuning::hash_max_size>,
       .doc = "Checked; tables size themselves."},
      {.name = "map_hash_bucket_size",
       .where = where,
       .args = {1, 1},
       .initial = "64",
       .set = conf::into<&MapTuning::hash_bucket_size>,
       .doc = "Checked; tables size themselves."},
  }};
}

}  // namespace weir::shared
