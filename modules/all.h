#pragma once

#include <span>

#include "confparse/schema.h"

namespace weir {

// Every module, in nginx's order: errors found at a closing brace, phase handlers and filters come
// in this order.
std::span<const conf::Module* const> all_modules();

}  // namespace weir
