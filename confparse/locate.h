#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "confparse/ast.h"
#include "confparse/source.h"

// Finds the words that a problem is about when it was found long after they were read. Used only
// when there is a problem: a search reads the whole block.
namespace weir::conf {

// The first use of every variable ($name, ${name}) in a block and the blocks in it, by name in
// lower case; the span covers '$' and the name. Words that are only defined there count too.
std::unordered_map<std::string, Span> variable_uses(const Sources& sources, const Block& block);

// Would a statement of the block (or one in it) define $name, if it were right? True for `set
// $name`, `map … $name` and for named captures.
bool seems_to_define(const Block& block, std::string_view name);

// How deep a search goes.
enum class Depth : bool { this_block, all_blocks };

// The first word after a statement's name that is `text`, or ends in it behind the prefix of paths
// (`text` is then a full path), or has it between '=', ':' and ','. Empty when there is none.
Span find_word(const Block& block, std::string_view text, Depth depth);

// The name of the last statement called `name`.
Span find_name(const Block& block, std::string_view name, Depth depth);

}  // namespace weir::conf
