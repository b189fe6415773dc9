#pragma once

#include <span>

#include "confparse/schema.h"

// What is known about directives beyond what is needed to read them: only explanations of errors
// come from here.
namespace weir::explain {

std::span<const conf::Usage> usages();
std::span<const conf::Elsewhere> elsewhere();

// Has no directives.
extern const conf::Module kExplainModule;

}  // namespace weir::explain
