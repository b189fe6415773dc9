#include <bit>
#include <string>
#include <unordered_map>

#include "modules/shared/geo_tables.h"

// The lines of a geo block.
namespace weir::shared {

namespace {

using conf::Statement;

std::string ipv4_text(uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
         std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

}  // namespace

class GeoReader {
 public:
  GeoReader(conf::Compiler& compiler, bool proxies)
      : compiler_(compiler), geo_(std::make_unique<Geo>()), proxies_(proxies) {}

  // False after an error.
  bool line(const Statement& line) {
    if (line.words.size() == 1) return word(line);
    if (line.words.size() != 2) return wrong_number(line);
    return geo_->ranges_ ? range_line(line) : network_line(line);
  }

  std::unique_ptr<Geo> finish() {
    if (geo_->ranges_) {
      geo_->other_ = default_.value_or(0);
      geo_->ipv4_ = ranges_.borders(geo_->other_);
    } else {
      geo_->ipv4_ = ipv4_.borders();
      geo_->ipv6_ = ipv6_.borders();
    }
    return std::move(geo_);
  }

 private:
  bool wrong_number(const Statement& line) {
    compiler_.error(line, "invalid number of the geo parameters",
                    "a line of geo is a network and a value");
    return false;
  }

  bool word(const Statement& line) {
    if (line.name() == "ranges") {
      if (networks_seen_) {
        compiler_.error(
            line, "the \"ranges\" directive must be the first directive inside \"geo\" block");
        return false;
      }
      geo_->ranges_ = true;
    } else if (line.name() == "proxy_recursive" && proxies_) {
      geo_->proxy_recursive = true;
    } else if (line.name() == "volatile") {
      geo_->is_volatile = true;
    } else {
      return wrong_number(line);
    }
    return true;
  }

  uint32_t value_index(std::string_view text) {
    const auto [at, added] =
        value_index_.try_emplace(std::string(text), static_cast<uint32_t>(geo_->values_.size()));
    if (added) geo_->values_.emplace_back(text);
    return at->second;
  }

  bool read_network(const Statement& line, std::string_view text, conf::Cidr& network) {
    switch (conf::parse_cidr(text, network)) {
      case conf::CidrResult::ok:
        return true;
      case conf::CidrResult::low_bits:
        compiler_.warn(line, "low address bits of " + std::string(text) + " are meaningless");
        return true;
      case conf::CidrResult::invalid:
        break;
    }
    compiler_.error(line, "invalid network \"" + std::string(text) + "\"",
                    "an address or a network such as 10.0.0.0/8");
    return false;
  }

  bool proxy(const Statement& line) {
    TrustedPeer peer;
    if (!read_network(line, line.argument(0), peer.network)) return false;
    geo_->proxies.push_back(peer);
    return true;
  }

  // --- networks

  bool network_line(const Statement& line) {
    const std::string_view name = line.name();
    if (name == "proxy" && proxies_) return proxy(line);
    if (name == "delete") return erase_network(line);
    networks_seen_ = true;
    const uint32_t value = value_index(line.argument(0));
    if (name == "default") {
      tell_old(line, ipv4_.put(0, 0, value));
      tell_old(line, ipv6_.put(0, 0, value));
      return true;
    }
    conf::Cidr network;
    if (!read_network(line, name, network)) return false;
    tell_old(line, network.ipv6 ? ipv6_.put(wide_of(network.address), length_of(network), value)
                                : ipv4_.put(narrow_of(network.address), length_of(network), value));
    return true;
  }

  static unsigned length_of(const conf::Cidr& network) {
    unsigned length = 0;
    for (size_t i = 0; i < (network.ipv6 ? 16u : 4u); ++i) {
      length += static_cast<unsigned>(std::popcount(network.mask[i]));
    }
    return length;
  }

  bool erase_network(const Statement& line) {
    networks_seen_ = true;
    conf::Cidr network;
    if (!read_network(line, line.argument(0), network)) return false;
    const bool erased = network.ipv6 ? ipv6_.erase(wide_of(network.address), length_of(network))
                                     : ipv4_.erase(narrow_of(network.address), length_of(network));
    if (!erased) {
      compiler_.warn(line, "no network \"" + std::string(line.argument(0)) + "\" to delete");
    }
    return true;
  }

  void tell_old(const Statement& line, std::optional<uint32_t> old) {
    if (!old) return;
    compiler_.warn(line, "duplicate network \"" + std::string(line.name()) + "\", value: \"" +
                             std::string(line.argument(0)) + "\", old value: \"" +
                             geo_->values_[*old] + "\"");
  }

  // --- ranges

  bool range_line(const Statement& line) {
    const std::string_view name = line.name();
    if (name == "proxy" && proxies_) return proxy(line);
    const bool erase = name == "delete";
    if (name == "default") {
      const uint32_t value = value_index(line.argument(0));
      if (default_) {
        compiler_.warn(line, "duplicate default geo range value: \"" +
                                 std::string(line.argument(0)) + "\", old value: \"" +
                                 geo_->values_[*default_] + "\"");
      }
      default_ = value;
      return true;
    }
    uint32_t first = 0, last = 0;
    const std::string_view text = erase ? line.argument(0) : name;
    if (!read_range(text, first, last)) {
      compiler_.error(line, "invalid range \"" + std::string(text) + "\"",
                      "with \"ranges\" a line is FIRST-LAST and a value, of IPv4 addresses");
      return false;
    }
    return erase ? erase_range(line, text, first, last) : add_range(line, first, last);
  }

  static bool read_range(std::string_view text, uint32_t& first, uint32_t& last) {
    const size_t dash = text.find('-');
    // nginx takes 255.255.255.255 for no address.
    return dash != text.npos && conf::parse_ipv4(text.substr(0, dash), first) &&
           conf::parse_ipv4(text.substr(dash + 1), last) && first != kNoAddress &&
           last != kNoAddress && first <= last;
  }

  // Calls with every block of 65536 addresses that the range touches.
  template <class Each>
  static bool for_each_block(uint32_t first, uint32_t last, uint32_t value, Each each) {
    for (uint32_t block = first >> 16; block <= last >> 16; ++block) {
      Ranges::Part part{0, 0xffff, value};
      if (block == first >> 16) part.first = static_cast<uint16_t>(first);
      if (block == last >> 16) part.last = static_cast<uint16_t>(last);
      if (!each(block, part)) return false;
    }
    return true;
  }

  bool add_range(const Statement& line, uint32_t first, uint32_t last) {
    const uint32_t value = value_index(line.argument(0));
    return for_each_block(first, last, value, [&](uint32_t block, Ranges::Part part) {
      const Ranges::Result result = ranges_.add(block, part);
      if (result.kind == Ranges::Result::Kind::duplicate) {
        compiler_.warn(line, "duplicate range \"" + std::string(line.name()) + "\", value: \"" +
                                 std::string(line.argument(0)) + "\", old value: \"" +
                                 geo_->values_[result.old_value] + "\"");
      }
      if (result.kind != Ranges::Result::Kind::overlap) return true;
      compiler_.error(line, "range \"" + std::string(line.name()) + "\" overlaps \"" +
                                ipv4_text(result.first) + "-" + ipv4_text(result.last) + "\"");
      return false;
    });
  }

  bool erase_range(const Statement& line, std::string_view text, uint32_t first, uint32_t last) {
    bool missing = false;
    for_each_block(first, last, 0, [&](uint32_t block, Ranges::Part part) {
      missing = !ranges_.erase(block, part) || missing;
      return true;
    });
    if (missing) {
      compiler_.warn(line, "no address range \"" + std::string(text) + "\" to delete");
    }
    return true;
  }

  conf::Compiler& compiler_;
  std::unique_ptr<Geo> geo_;
  bool proxies_;
  bool networks_seen_ = false;
  std::unordered_map<std::string, uint32_t> value_index_;
  Networks<uint32_t> ipv4_;
  Networks<Geo::Wide> ipv6_;
  Ranges ranges_;
  std::optional<uint32_t> default_;
};

std::unique_ptr<Geo> Geo::read(conf::Compiler& compiler, const conf::Statement& statement,
                               bool proxies) {
  GeoReader reader(compiler, proxies);
  for (const conf::Statement& line : statement.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    if (!reader.line(line)) return nullptr;
  }
  return reader.finish();
}

}  // namespace weir::shared
