#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "modules/shared/geo.h"

// What the lines of a geo block fill while they are read (geo_reader.cc), and what comes of it:
// sorted borders, which geo.cc searches. Values are indices into the values of the block.
namespace weir::shared {

constexpr uint32_t kNoAddress = 0xffffffff;  // 255.255.255.255

// Addresses as numbers, from bytes in network order.
inline Geo::Wide wide_of(const uint8_t* bytes) {
  Geo::Wide number = 0;
  for (int i = 0; i < 16; ++i) number = number << 8 | bytes[i];
  return number;
}

inline uint32_t narrow_of(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// Networks by first address and length, and what they become: borders where the value changes, each
// up to the next one. In front of the first one the value is 0. `Number`: uint32_t or Geo::Wide.
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
  // Of a block; first <= last.
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

  // Within a range that is there, `part` takes its place; across its border it is an overlap.
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

  // Only the very same range; false: there is none.
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

}  // namespace weir::shared
