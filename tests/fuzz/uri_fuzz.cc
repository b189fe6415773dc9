// Request targets and their like: decoding, normalising, escaping. Checked: that nothing comes out
// that reaches above the root, and that what was normalised and escaped again is the same again.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string>
#include <string_view>

#include "engine/http/framing.h"
#include "engine/http/uri.h"

using namespace weir;
using namespace weir::http;

namespace {

void require(bool condition, std::source_location at = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "line %u\n", at.line());
  std::abort();
}

bool has_segment(std::string_view uri, std::string_view segment) {
  while (!uri.empty()) {
    const size_t end = uri.find('/');
    if (uri.substr(0, end) == segment) return true;
    if (end == std::string_view::npos) return false;
    uri.remove_prefix(end + 1);
  }
  return false;
}

void check_target(Arena& arena, std::string_view target, bool merge_slashes) {
  const ParsedTarget parsed = parse_target(arena, target, merge_slashes);
  if (!parsed.ok) return;
  require(!parsed.uri.empty() && parsed.uri.front() == '/');
  require(parsed.uri.find('\0') == std::string_view::npos);
  require(!has_segment(parsed.uri, "..") && !has_segment(parsed.uri, "."));
  if (merge_slashes) require(parsed.uri.find("//") == std::string_view::npos);
  require(parsed.uri.size() <= target.size());
  require(parsed.args.empty() || target.find(parsed.args) != std::string_view::npos);
  require(parsed.extension.find('/') == std::string_view::npos);
  if (!parsed.changed) require(target.starts_with(parsed.uri));

  const std::string_view again = escape(arena, parsed.uri, Escape::uri);
  const ParsedTarget second = parse_target(arena, again, merge_slashes);
  require(second.ok && second.uri == parsed.uri && second.args.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  Arena arena;
  // Its own block, so that reading past its end is seen.
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string target = "/" + text;
  // Codecs refuse heads with bare zero bytes.
  if (target.find('\0') == std::string::npos) check_target(arena, target, (data[0] & 1) != 0);

  const SplitUri split = split_args(text);
  require(split.uri.size() + split.args.size() <= text.size());
  SplitUri safe;
  if (parse_unsafe_uri(arena, target, safe)) {
    require(!has_segment(safe.uri, ".."));
    require(safe.uri.find('\0') == std::string_view::npos);
  }
  find_extension(text);
  for (const Escape kind : {Escape::uri, Escape::args, Escape::uri_component, Escape::html,
                            Escape::refresh, Escape::memcached}) {
    const std::string_view escaped = escape(arena, text, kind);
    require(escaped.size() >= text.size() && escaped.size() <= 3 * text.size());
  }
  require(unescape(arena, escape(arena, text, Escape::uri_component)) == text);
  require(unescape(arena, text, true).size() <= text.size());
  require(unescape_redirect(arena, text).size() <= text.size());
  const std::string_view html = escape_html(arena, text);
  require(html.find_first_of("<>\"") == std::string_view::npos);
  if (const auto host = validate_host(arena, text)) {
    require(host->size() <= text.size());
    require(host->find_first_of(std::string_view("/\0", 2)) == std::string_view::npos);
    require(validate_host(arena, *host) == host);
  }
  return 0;
}
