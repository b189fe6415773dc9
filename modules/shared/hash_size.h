#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "confparse/compiler.h"

// NAME_hash_max_size and NAME_hash_bucket_size: tables size themselves here, but a size that nginx
// refuses whatever is in the table is refused here too.
namespace weir::shared {

// nginx's text about a table with at least one entry; empty when the sizes are usable.
// `table`: "variables_hash".
std::string hash_size_problem(std::string_view table, int64_t max_size, int64_t bucket_size);

extern const char* const kHashSizeHelp;

// Inside finish() and complete(): reports it, once for each table.
void check_hash_size(conf::Compiler& compiler, std::string_view table, int64_t max_size,
                     int64_t bucket_size);

}  // namespace weir::shared
