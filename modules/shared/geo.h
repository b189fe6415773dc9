#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "confparse/compiler.h"
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

  // Reads the block; reports nginx's errors and warnings. Null after an error. `proxies`: may
  // `proxy` and `proxy_recursive` stand in it (http)?
  static std::unique_ptr<Geo> read(conf::Compiler& compiler, const conf::Statement& statement,
                                   bool proxies);
  conf::Value find(const net::Address& address) const;
  // By the text of an address; what is none counts as 255.255.255.255, as with nginx.
  conf::Value find_text(std::string_view address) const;

  // kNoVariable: the client's address counts.
  conf::VariableId source = conf::kNoVariable;
  TrustedPeers proxies;
  bool proxy_recursive = false;
  bool is_volatile = false;

 private:
  friend class GeoReader;
  template <class Number>
  using Borders = std::vector<std::pair<Number, uint32_t>>;  // from here on: this value
  conf::Value value_at(uint32_t index) const { return conf::Value::of(values_[index]); }

  std::vector<std::string> values_{""};  // 0: where nothing fits
  Borders<uint32_t> ipv4_;
  Borders<Wide> ipv6_;
  uint32_t other_ = 0;  // ranges: of IPv6 addresses
  bool ranges_ = false;
};

}  // namespace weir::shared
