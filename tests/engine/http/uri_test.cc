#include "engine/http/uri.h"

#include <catch2/catch.hpp>

using namespace weir;
using namespace weir::http;

namespace {

std::string parse(std::string_view target, bool merge = true) {
  Arena arena;
  ParsedTarget parsed = parse_target(arena, target, merge);
  if (!parsed.ok) return "400";
  return std::string(parsed.uri) + " args=" + std::string(parsed.args) +
         " ext=" + std::string(parsed.extension);
}

}  // namespace

// Every expectation was checked with nginx 1.22 ($uri, $args).
TEST_CASE("request targets are decoded and normalised as nginx does") {
  struct Row {
    const char* target;
    const char* result;
  };
  const Row rows[] = {
      {"/", "/ args= ext="},
      {"/a/b.html?x=1&y", "/a/b.html args=x=1&y ext=html"},
      {"/a%20b", "/a b args= ext="},
      {"/a+b", "/a+b args= ext="},
      {"//a///b", "/a/b args= ext="},
      {"/a/./b/../c", "/a/c args= ext="},
      {"/a/..", "/ args= ext="},
      {"/a/.", "/a/ args= ext="},
      {"/a/b/../../c.php", "/c.php args= ext=php"},
      {"/..", "400"},
      {"/../a", "400"},
      {"/a/../../b", "400"},
      {"/%2e%2e/a", "400"},
      {"/a%2fb", "/a/b args= ext="},
      {"/a/%2e%2e/b", "/b args= ext="},
      {"/a%00b", "400"},
      {"/a%", "400"},
      {"/a%2", "400"},
      {"/a%zz", "400"},
      {"/a%3fb?c", "/a?b args=c ext="},
      {"/a%23b", "/a#b args= ext="},
      {"/a%25b", "/a%b args= ext="},
      {"/a#frag", "/a args= ext="},
      {"/a?b#frag", "/a args=b ext="},
      {"/a?b=/../%2e", "/a args=b=/../%2e ext="},
      {"/.hidden", "/.hidden args= ext="},
      {"/a.b/c", "/a.b/c args= ext="},
      {"/a/...", "/a/... args= ext="},
      {"/a/..b", "/a/..b args= ext=b"},
      {"?x", "/ args=x ext="},
      {"", "/ args= ext="},
      {"*", "400"},
      {"a", "400"},
  };
  for (const Row& row : rows) {
    INFO(row.target);
    CHECK(parse(row.target) == row.result);
  }
  CHECK(parse("//a//b", false) == "//a//b args= ext=");
  CHECK(parse("/a//../b", false) == "/a/b args= ext=");
}

TEST_CASE("escape functions escape what nginx's do") {
  Arena arena;
  CHECK(escape(arena, "/a b\"#%<>?\\^`{|}\x7f\xc3", Escape::uri) ==
        "/a%20b%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D%7F%C3");
  CHECK(escape(arena, "/plain-_.~!$&'()*+,;=:@", Escape::uri) == "/plain-_.~!$&'()*+,;=:@");
  CHECK(escape(arena, "a&b+c;d=e/f?", Escape::args) == "a%26b%2Bc%3Bd=e/f%3F");
  CHECK(escape(arena, "a/b:c-d_e.f~", Escape::uri_component) == "a%2Fb%3Ac-d_e.f~");
  CHECK(escape(arena, "a b%\xff", Escape::memcached) == "a%20b%25\xff");
  CHECK(unescape(arena, "a%20b%zz%4") == "a b%zz%4");
  CHECK(unescape(arena, "a%20b?c%20d", true) == "a b?c%20d");
  CHECK(escape_html(arena, "<a&\"b\">") == "&lt;a&amp;&quot;b&quot;&gt;");
}

TEST_CASE("URIs from elsewhere are refused when they lead out of the tree") {
  Arena arena;
  SplitUri out;
  CHECK(parse_unsafe_uri(arena, "/a%20b?c=d", out));
  CHECK(out.uri == "/a b");
  CHECK(out.args == "c=d");
  CHECK_FALSE(parse_unsafe_uri(arena, "/a/../b", out));
  CHECK_FALSE(parse_unsafe_uri(arena, "../b", out));
  CHECK_FALSE(parse_unsafe_uri(arena, "/a%00b", out));
  CHECK_FALSE(parse_unsafe_uri(arena, "/a/%2e%2e/b", out));
  CHECK_FALSE(parse_unsafe_uri(arena, "", out));
  CHECK(parse_unsafe_uri(arena, "/a..b/..c", out));
}
