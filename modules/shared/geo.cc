#include "modules/shared/geo.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <optional>
#include <unordered_map>

namespace weir::shared {

namespace {

using conf::Statement;
using Wide = Geo::Wide;

constexpr uint32_t kNoAddress = 0xffffffff;

Wide wide_of(const uint8_t* bytes) {
  Wide number = 0;
  for (int i = 0; i < 16; ++i) number = number << 8 | bytes[i];
  return number;
}

uint32_t narrow_of(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

std::string ipv4_text(uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
         std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

// Networks by first address and length, and what they become: borders where the value changes.
template <class Number>
class Networks {
 public:
  // The index of the value that was there, or nothing.
  std::optional<uint32_t> put(Number first, unsigned length, uint32_t value) {
    const auto [at, added] = all_.try_emplace({first, length}, value);
    if (added) return {};
    return std::exchange(at->second, value);
  }
  bool erase(Number first, unsigned length) { return all_.erase({first, length}) > 0; }

  std::vector<std::pair<Number, uint32_t>> borders() const {
    std::vector<std::pair<Number, uint32_t>> result;
    const auto mark = [&](Number from, uint32_t value) {
      if (!result.empty() && result.back().first == from) result.pop_back();
      if (result.empty() ? value != 0 : result.back().second != value) {
        result.emplace_back(from, value);
      }
    };
    struct Open {
      Number last;
      uint32_t value;
    };
    std::vector<Open> open;
    const auto close_until = [&](const Number* next) {
      while (!open.empty() && (!next || open.back().last < *next)) {
        const Number last = open.back().last;
        open.pop_back();
        if (last != static_cast<Number>(~Number{0})) {
          mark(last + 1, open.empty() ? 0 : open.back().value);
        }
      }
    };
    for (const auto& [network, value] : all_) {
      const auto& [first, length] = network;
      close_until(&first);
      const Number rest =
          length == 0 ? static_cast<Number>(~Number{0})
                      : static_cast<Number>((Number{1} << (sizeof(Number) * 8 - length)) - 1);
      open.push_back({static_cast<Number>(first | rest), value});
      mark(first, value);
    }
    close_until(nullptr);
    return result;
  }

 private:
  std::map<std::pair<Number, unsigned>, uint32_t> all_;
};

// Ranges of IPv4 addresses in blocks of 65536, which is how far nginx looks for overlaps.
class Ranges {
 public:
  struct Part {
    uint16_t first;
    uint16_t last;
    uint32_t value;
  };
  struct Result {
    enum class Kind : uint8_t { added, duplicate, overlap } kind = Kind::added;
    uint32_t old_value = 0;
    uint32_t first = 0, last = 0;  // of the range that it overlaps
  };

  Result add(uint32_t block, Part part) {
    std::vector<Part>& parts = blocks_[block];
    for (size_t i = parts.size(); i-- > 0;) {
      Part& there = parts[i];
      if (part.first > there.last) {
        parts.insert(parts.begin() + static_cast<ptrdiff_t>(i) + 1, part);
        return {};
      }
      if (part.last < there.first) continue;
      if (part.first == there.first && part.last == there.last) {
        return {Result::Kind::duplicate, std::exchange(there.value, part.value)};
      }
      if (part.first < there.first || part.last > there.last) {
        return {Result::Kind::overlap, 0, block << 16 | there.first, block << 16 | there.last};
      }
      split(parts, i, part);
      return {};
    }
    parts.insert(parts.begin(), part);
    return {};
  }

  bool erase(uint32_t block, Part part) {
    std::vector<Part>& parts = blocks_[block];
    return std::erase_if(parts, [&](const Part& there) {
             return there.first == part.first && there.last == part.last;
           }) > 0;
  }

  // `other`: the value between ranges.
  std::vector<std::pair<uint32_t, uint32_t>> borders(uint32_t other) const {
    std::vector<std::pair<uint32_t, uint32_t>> result;
    const auto mark = [&](uint32_t from, uint32_t value) {
      if (!result.empty() && result.back().first == from) result.pop_back();
      if (result.empty() || result.back().second != value) result.emplace_back(from, value);
    };
    mark(0, other);
    for (const auto& [block, parts] : blocks_) {
      for (const Part& part : parts) {
        mark(block << 16 | part.first, part.value);
        const uint32_t last = block << 16 | part.last;
        if (last != kNoAddress) mark(last + 1, other);
      }
    }
    return result;
  }

 private:
  // `part` lies within parts[i], and is not all of it.
  static void split(std::vector<Part>& parts, size_t i, Part part) {
    const Part whole = parts[i];
    std::vector<Part> pieces;
    if (part.first > whole.first) {
      pieces.push_back({whole.first, static_cast<uint16_t>(part.first - 1), whole.value});
    }
    pieces.push_back(part);
    if (part.last < whole.last) {
      pieces.push_back({static_cast<uint16_t>(part.last + 1), whole.last, whole.value});
    }
    const auto at = parts.erase(parts.begin() + static_cast<ptrdiff_t>(i));
    parts.insert(at, pieces.begin(), pieces.end());
  }

  std::map<uint32_t, std::vector<Part>> blocks_;
};

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
  Networks<Wide> ipv6_;
  Ranges ranges_;
  std::optional<uint32_t> default_;
};

namespace {

conf::Value evaluate_geo(conf::VariableSource& source, const conf::Variable& variable) {
  return reinterpret_cast<const Geo*>(variable.data)->evaluate(source);
}

bool is_variable(conf::Compiler& compiler, const conf::Statement& statement,
                 const conf::Word& word) {
  if (word.text.starts_with("$") && word.text.size() > 1) return true;
  compiler.error(statement, "invalid variable name \"" + std::string(word.text) + "\"",
                 "a variable's name begins with $", &word);
  return false;
}

}  // namespace

std::unique_ptr<Geo> Geo::define(conf::Compiler& compiler, const conf::Statement& statement,
                                 ClientAddress client, bool proxies) {
  const bool has_source = statement.words.size() == 3;
  for (const conf::Word& word : statement.words.subspan(1)) {
    if (!is_variable(compiler, statement, word)) return nullptr;
  }
  const conf::Word& name = statement.words[has_source ? 2 : 1];
  const conf::VariableId source =
      has_source ? compiler.variables().use(statement.words[1].text.substr(1)) : conf::kNoVariable;
  conf::Variable variable;
  variable.name = name.text.substr(1);
  variable.get = evaluate_geo;
  variable.changeable = true;
  if (const conf::Variable* known = compiler.variables().find(variable.name);
      known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + variable.name + "\" variable", {}, &name);
    return nullptr;
  }
  auto geo = read(compiler, statement, proxies);
  if (!geo) return nullptr;
  geo->source_ = source;
  geo->client_ = client;
  variable.cacheable = !geo->is_volatile;
  variable.data = reinterpret_cast<uintptr_t>(geo.get());
  if (has_source) variable.reads = {source};
  compiler.variables().define(variable);
  return geo;
}

conf::Value Geo::evaluate(conf::VariableSource& request) const {
  if (source_ == conf::kNoVariable) return find(client_(request, *this));
  const conf::Value text = request.variable(source_);
  return find_text(text.found ? text.text : std::string_view());
}

std::unique_ptr<Geo> Geo::read(conf::Compiler& compiler, const conf::Statement& statement,
                               bool proxies) {
  GeoReader reader(compiler, proxies);
  for (const conf::Statement& line : statement.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    if (!reader.line(line)) return nullptr;
  }
  return reader.finish();
}

namespace {

template <class Number>
uint32_t value_of(const std::vector<std::pair<Number, uint32_t>>& borders, Number address) {
  const auto behind =
      std::upper_bound(borders.begin(), borders.end(), address,
                       [](Number wanted, const auto& border) { return wanted < border.first; });
  return behind == borders.begin() ? 0 : std::prev(behind)->second;
}

}  // namespace

conf::Value Geo::find(const net::Address& address) const {
  const net::Address plain = address.unmapped();
  const std::string_view bytes = plain.binary();
  const auto* raw = reinterpret_cast<const uint8_t*>(bytes.data());
  if (bytes.size() == 16) {
    return value_at(ranges_ ? other_ : value_of(ipv6_, wide_of(raw)));
  }
  return value_at(value_of(ipv4_, bytes.size() == 4 ? narrow_of(raw) : kNoAddress));
}

conf::Value Geo::find_text(std::string_view address) const {
  const auto parsed = net::Address::parse_host(address);
  return find(parsed ? *parsed : net::Address());
}

}  // namespace weir::shared
