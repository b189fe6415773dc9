#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/arena.h"

// Request targets: decoding and normalising by nginx's rules, and nginx's escape functions. All are
// table-driven; results that need no change are the argument itself.
namespace weir::http {

// What a request target's path and query are, decoded (RFC 3986, nginx's rules).
struct ParsedTarget {
  bool ok = false;        // false: 400
  std::string_view uri;   // decoded, normalised; the target's own bytes where nothing had to change
  std::string_view args;  // raw, without '?'; up to '#'
  std::string_view extension;  // of the last segment, without '.'
  bool changed = false;        // uri is not the target's own bytes (nginx's complex or quoted uri)
};
// `target` is in origin form ("/a%20b/../c?x#y"); `merge_slashes` as configured. "/..", an
// incomplete or zero escape are refused.
ParsedTarget parse_target(Arena& arena, std::string_view target, bool merge_slashes);
// Of rewritten URIs: text after the last '.' of the last segment.
std::string_view find_extension(std::string_view uri);

// "/a?b" → uri "/a", args "b"; used by rewrites, X-Accel-Redirect, error_page.
struct SplitUri {
  std::string_view uri;
  std::string_view args;
};
SplitUri split_args(std::string_view text);
// A URI from a trusted-ish source (X-Accel-Redirect, Destination): refuses "/../" and NUL, decodes
// %xx. False: unsafe (nginx: `unsafe URI "x" was detected`).
bool parse_unsafe_uri(Arena& arena, std::string_view text, SplitUri& out);

enum class Escape : uint8_t {
  uri,            // a path sent on: blank " # % < > ? \ ^ ` { | }, controls, 8-bit bytes
  args,           // query text: those and & + ;
  uri_component,  // all but letters, digits and - . _ ~
  html,           // blank " # % ', controls, 8-bit bytes
  refresh,        // blank " ', controls, 8-bit bytes
  memcached,      // blank, % and controls
};
std::string_view escape(Arena& arena, std::string_view text, Escape kind);
// nginx's ngx_unescape_uri: %xx only; `until_question_mark` stops decoding there.
std::string_view unescape(Arena& arena, std::string_view text, bool until_question_mark = false);
// What a rewrite makes of a redirect's address: %xx is decoded where the character is printable and
// above '%', up to the first '?', which ends decoding.
std::string_view unescape_redirect(Arena& arena, std::string_view text);
// & < > " as entities, for generated pages.
std::string_view escape_html(Arena& arena, std::string_view text);

}  // namespace weir::http
