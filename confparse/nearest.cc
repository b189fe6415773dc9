#include "confparse/nearest.h"

#include <algorithm>
#include <iterator>

#include "confparse/value.h"

namespace weir::conf {

namespace {

constexpr size_t kLongest = 64;
// A candidate is at most half as long again as what it is compared with.
constexpr size_t kRow = 2 * kLongest;

std::string folded(std::string_view text) {
  std::string result;
  std::copy_if(text.begin(), text.end(), std::back_inserter(result),
               [](char c) { return c != '_' && c != '-'; });
  return lower_case(result);
}

}  // namespace

// A file full of unknown names costs little: only cells that can still matter are filled.
size_t edit_distance(std::string_view a, std::string_view b, size_t most) {
  if (a.size() >= kRow || b.size() >= kRow) return most + 1;
  size_t rows[3][kRow];
  size_t* before = rows[0];
  size_t* row = rows[1];
  size_t* next = rows[2];
  for (size_t j = 0; j <= b.size(); ++j) before[j] = row[j] = j <= most ? j : most + 1;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::fill_n(next, b.size() + 1, most + 1);
    if (i <= most) next[0] = i;
    size_t least = next[0];
    const size_t first = i > most ? i - most : 1;
    for (size_t j = first; j <= std::min(b.size(), i + most); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
      least = std::min(least, next[j]);
    }
    // A swap looks one row further back, and adds one to it.
    if (least > most && *std::min_element(row, row + b.size() + 1) >= most) return most + 1;
    std::swap(before, row);
    std::swap(row, next);
  }
  return std::min(row[b.size()], most + 1);
}

Nearest::Nearest(std::string_view wrong, Likeness likeness)
    : wrong_(wrong),
      most_(std::max<size_t>(1, wrong.size() / 3)),
      likeness_(likeness),
      rank_(~0u, 0) {
  // Numbers are like each other by chance.
  const bool letters = std::any_of(wrong.begin(), wrong.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
  if (wrong_.size() > kLongest || !letters) wrong_ = {};
  folded_ = folded(wrong_);
}

bool Nearest::consider(std::string_view candidate, unsigned handicap) {
  if (wrong_.empty() || candidate == wrong_) return false;
  const size_t longer = std::max(candidate.size(), wrong_.size());
  const size_t shorter = std::min(candidate.size(), wrong_.size());
  const bool near_size = longer - shorter <= most_;
  size_t distance = 0;
  if (!near_size || folded(candidate) != folded_) {
    distance = near_size ? edit_distance(wrong_, candidate, most_) : most_ + 1;
    // Words of one or two letters are like too many others.
    if (distance > most_ || distance >= shorter) {
      const bool begins = shorter >= 4 && candidate.substr(0, shorter) == wrong_.substr(0, shorter);
      if (likeness_ == Likeness::spelling || !begins) return false;
      distance = most_ + longer - shorter;
    }
  }
  const std::pair rank(handicap, distance);
  if (rank >= rank_) return false;
  rank_ = rank;
  best_ = candidate;
  return true;
}

}  // namespace weir::conf
