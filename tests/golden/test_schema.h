#pragma once

#include <span>

#include "confparse/schema.h"

namespace weir::conf::test {

// A few directives of nginx with their real places, counts and values, but nothing behind them:
// enough to test reading, checking and messages of confparse without the modules.
std::span<const Module* const> test_modules();

}  // namespace weir::conf::test
