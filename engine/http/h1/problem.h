#pragma once

#include <string_view>

#include "engine/base/arena.h"
#include "engine/http/h1/head_parser.h"

namespace weir::http::h1 {

// What a server answers to a head that the parser refused: 400, 405, 414, 494, 505.
int problem_status(HeadParser::Problem problem);
// nginx's words for it, static or in the arena. `text` is the head as far as it was read.
const char* describe_request_problem(Arena& arena, const HeadParser::Failure& failure,
                                     std::string_view text);
const char* describe_response_problem(Arena& arena, const HeadParser::Failure& failure,
                                      std::string_view text);

}  // namespace weir::http::h1
