#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "confparse/ast.h"
#include "confparse/lexer.h"
#include "confparse/source.h"

namespace weir::conf {

// `-T`: every file that was read, once, in the order of reading, each as
// "# configuration file NAME:\n", its text, "\n".
std::string print_dump(const Sources& sources);

// All tokens of a text, comments included, each with the white space before it (`leading`): joined
// again they are the text, byte for byte. A lexical error ends the list; the rest of the text is
// then in the last entry's `leading`.
struct LaidOutToken {
  Token token;
  std::string_view leading;
};
std::vector<LaidOutToken> tokens_with_layout(const Sources& sources, FileId file, TreeArena& arena);
std::string print_tokens(const std::vector<LaidOutToken>& tokens, std::string_view text);

// A block in one normal form: four spaces a level, one statement a line, quotes where a word needs
// them. Comments are not in the tree, so this is for dumps and comparisons, not for editing.
// Included statements stand in the place of their `include`.
std::string print_normalised(const Block& block, unsigned level = 0);

// The word as it must be written to be read as `text` again.
std::string quote_word(std::string_view text);

}  // namespace weir::conf
