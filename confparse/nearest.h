#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace weir::conf {

// Number of letters to insert, remove, change, or swap with their neighbour; `most` + 1 when they
// are more. Texts of 128 letters and more are never near.
size_t edit_distance(std::string_view a, std::string_view b, size_t most);

// Finds the word that somebody meant: a third of the letters may be wrong (at least one), and
// letter case, '_' and '-' do not count.
class Nearest {
 public:
  // `shortened`: the beginning of a word, of four letters or more, is like the whole, if nothing is
  // more so ("default" for "default_server", "warning" for "warn").
  enum class Likeness : bool { spelling, shortened };
  explicit Nearest(std::string_view wrong, Likeness likeness = Likeness::spelling);
  // Of equally near candidates the first stays; one with a smaller `handicap` always wins. False
  // when `candidate` is not (or no longer) the best.
  bool consider(std::string_view candidate, unsigned handicap = 0);
  bool found() const { return !best_.empty(); }
  const std::string& best() const { return best_; }
  unsigned handicap() const { return rank_.first; }

 private:
  std::string_view wrong_;
  std::string folded_;
  size_t most_;
  Likeness likeness_;
  std::pair<unsigned, size_t> rank_;
  std::string best_;
};

}  // namespace weir::conf
