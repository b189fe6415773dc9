#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/schema.h"
#include "confparse/variables.h"
#include "engine/net/address.h"
#include "modules/shared/forwarded.h"

// `geo`, once for http and stream: a value by address. Networks or ranges become sorted borders, so
// a lookup is one binary search, whatever the number of lines.
namespace weir::shared {

// One compiled geo block; lives as long as the generation.
class Geo {
 public:
  __extension__ using Wide = unsigned __int128;

  // The client's address, where the block names no variable.
  using ClientAddress = net::Address (*)(conf::VariableSource& source, const Geo& geo);

  // Reads the statement and defines its variable; reports nginx's errors and warnings. Null after
  // an error, else what the graph has to keep. `proxies`: may `proxy` and `proxy_recursive` stand
  // in the block (http)?
  static std::unique_ptr<Geo> define(conf::Compiler& compiler, const conf::Statement& statement,
                                     ClientAddress client, bool proxies);
  conf::Value evaluate(conf::VariableSource& request) const;
  conf::Value find(const net::Address& address) const;
  // By the text of an address; what is none counts as 255.255.255.255, as with nginx.
  conf::Value find_text(std::string_view address) const;

  TrustedPeers proxies;
  bool proxy_recursive = false;
  bool is_volatile = false;

 private:
  friend class GeoReader;
  static std::unique_ptr<Geo> read(conf::Compiler& compiler, const conf::Statement& statement,
                                   bool proxies);
  template <class Number>
  using Borders = std::vector<std::pair<Number, uint32_t>>;  // from here on: this value
  conf::Value value_at(uint32_t index) const { return conf::Value::of(values_[index]); }

  ClientAddress client_ = nullptr;
  conf::VariableId source_ = conf::kNoVariable;  // kNoVariable: the client's address counts
  std::vector<std::string> values_{""};          // 0: where nothing fits
  Borders<uint32_t> ipv4_;
  Borders<Wide> ipv6_;
  uint32_t other_ = 0;  // ranges: of IPv6 addresses
  bool ranges_ = false;
};

// The row, but for where it may stand; `set` keeps what define() gives.
constexpr conf::Directive geo_row(uint32_t where, conf::SetFunction set) {
  return {.name = "geo",
          .where = where,
          .args = {1, 2},
          .form = conf::Form::block,
          .repeat = conf::Repeat::collect,
          .set = set,
          .doc = "Defines a variable whose value depends on an address, the client's by default."};
}

}  // namespace weir::shared
