#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weir::conf {

// Names a file of Sources. 0 is no file.
using FileId = uint32_t;

// A byte range of one source file.
struct Span {
  FileId file = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

// One word of a statement as nginx's lexer delivers it: quotes removed, escapes resolved. `text`
// lives as long as the Tree and its Sources (it is a view of the file's text where nothing had to
// be resolved).
struct Word {
  std::string_view text;
  Span span;       // with its quotes
  char quote = 0;  // ' or " when the word was quoted
};

struct Block;

// One statement: words, then ';' or a block. `number` is the reading number: unique over all files
// of the configuration, growing in the order in which nginx would read, includes expanded in place.
// A block's closing brace has a number of its own (Block::end_number).
struct Statement {
  std::span<const Word> words;   // never empty
  const Block* block = nullptr;  // null: ended by ';'
  Span terminator;               // the ';' or '{': nginx reports errors on this line
  uint32_t number = 0;
  bool included = false;  // an `include` whose statements follow

  std::string_view name() const { return words[0].text; }
  size_t argument_count() const { return words.size() - 1; }
  std::string_view argument(size_t index) const { return words[index + 1].text; }
};

// The statements between braces (or of a whole file), with every include expanded in place: an
// `include` statement is kept, marked by included == true, and its statements follow it. Readers of
// free-form blocks (map, types, …) skip the marked ones.
struct Block {
  std::span<const Statement> statements;
  Span close;  // the '}' (or end of file)
  uint32_t end_number = 0;
};

}  // namespace weir::conf
