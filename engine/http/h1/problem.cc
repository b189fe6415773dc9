#include "engine/http/h1/problem.h"

#include <algorithm>

namespace weir::http::h1 {
namespace {

constexpr size_t kQuoted = 1700;  // nginx's lines have room for about this much of a peer's text

// The line up to the offending byte, and that byte in hexadecimal: `A: x\x0d...`
void quote_offence(ArenaText& to, const HeadParser::Failure& failure, std::string_view text) {
  size_t stop = std::min<size_t>(failure.stop, text.size());
  std::string_view line = text.substr(failure.line, stop - failure.line);
  to.append(line.substr(0, kQuoted));
  if (stop < text.size()) {
    static constexpr char kHex[] = "0123456789abcdef";
    auto byte = static_cast<unsigned char>(text[stop]);
    char escaped[] = {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    to.append({escaped, sizeof escaped});
  }
  to.append("...\"");
}

const char* quoting(Arena& arena, std::string_view before, const HeadParser::Failure& failure,
                    std::string_view text, std::string_view after, bool escape) {
  ArenaText to(arena, 160);
  to.append(before);
  if (escape) {
    quote_offence(to, failure, text);
  } else {
    to.append(text.substr(failure.line, std::min<size_t>(failure.stop - failure.line, kQuoted)));
    to.append("...\"");
  }
  to.append(after);
  to.push_back('\0');
  return to.view().data();
}

}  // namespace

int problem_status(HeadParser::Problem problem) {
  switch (problem) {
    case HeadParser::Problem::version:
      return 505;
    case HeadParser::Problem::uri_too_long:
      return 414;
    case HeadParser::Problem::header_too_long:
    case HeadParser::Problem::too_many_headers:
      return 494;
    default:
      return 400;
  }
}

const char* describe_request_problem(Arena& arena, const HeadParser::Failure& failure,
                                     std::string_view text) {
  constexpr std::string_view kHeaders = " while reading client request headers";
  switch (failure.problem) {
    case HeadParser::Problem::method:
      return "client sent invalid method while reading client request line";
    case HeadParser::Problem::request_line:
      return "client sent invalid request while reading client request line";
    case HeadParser::Problem::host_in_request_line:
      return "client sent invalid host in request line while reading client request line";
    case HeadParser::Problem::version:
      return "client sent invalid version while reading client request line";
    case HeadParser::Problem::method_in_0_9:
      return "client sent invalid method in HTTP/0.9 request while reading client request line";
    case HeadParser::Problem::uri_too_long:
      return "client sent too long URI while reading client request line";
    case HeadParser::Problem::header_line:
      return quoting(arena, "client sent invalid header line: \"", failure, text, kHeaders, true);
    case HeadParser::Problem::header_too_long:
      return quoting(arena, "client sent too long header line: \"", failure, text, kHeaders, false);
    case HeadParser::Problem::too_many_headers:
      return "client sent too many header lines while reading client request headers";
    case HeadParser::Problem::too_big:
    case HeadParser::Problem::none:
      break;
  }
  return "client sent invalid request";
}

const char* describe_response_problem(Arena& arena, const HeadParser::Failure& failure,
                                      std::string_view text) {
  switch (failure.problem) {
    case HeadParser::Problem::too_big:
      return "upstream sent too big header while reading response header from upstream";
    case HeadParser::Problem::too_many_headers:
      return "upstream sent too many header lines while reading response header from upstream";
    default:
      return quoting(arena, "upstream sent invalid header: \"", failure, text,
                     " while reading response header from upstream", true);
  }
}

}  // namespace weir::http::h1
