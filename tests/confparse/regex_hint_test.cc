#include "confparse/regex_hint.h"

#include <catch2/catch.hpp>

#include "confparse/regex.h"

using weir::conf::Regex;
using weir::conf::RegexHint;

namespace {

bool may_match(const char* pattern, const char* subject, bool ignore_case = false) {
  return RegexHint(pattern, ignore_case).may_match(subject);
}

}  // namespace

TEST_CASE("a hint rules out what cannot match", "[fast]") {
  CHECK_FALSE(may_match("^/section2/(a|b)", "/section3/a"));
  CHECK(may_match("^/section2/(a|b)", "/section2/c"));
  CHECK_FALSE(may_match("^/A", "/b", true));
  CHECK(may_match("^/A", "/a", true));
  CHECK_FALSE(may_match("^/long/prefix", "/long"));
  CHECK_FALSE(may_match("\\.php$", "/index"));
  CHECK(may_match("\\.php$", "/index.html"));
}

TEST_CASE("a hint never rules out a match", "[fast]") {
  const char* patterns[] = {
      "^/a|b",
      "^/a?",
      "^/ab*c",
      "^/ab{0,1}",
      "^a+b",
      "^/[(]|y",
      "x|y",
      "^\\Qa|b\\E",
      "^/a(?#(|)b",
      "^",
      "",
      "^/[]|]x",
      "^/[^]|]+b",
      "\\.*x",
      "\\.?",
      "^(?i)/A",
      "(?i)^/a",
      "^/a(?i)B",
      "^\\d/",
      "\\/+a",
      "^/\\x61",
      "^$",
      "^/a\\|b|c",
      "^/a[|]b",
      "^/(a|b)|c",
      "^/a\\c[|b",
      "a",
      "A",
      "^/[\\]|]a",
      "^/a-b_c\\.d",
      "^/[[:alpha:]|]b",
  };
  const char* subjects[] = {"",    "/",   "/a",   "b",     "/b",       "/ab", "/ac",
                            "y",   "x",   "/A",   "/aB",   "/aB",      "a|b", "/|x",
                            "/]x", "/|b", "1/",   "//a",   "/a|b",     "c",   "a",
                            "A",   "aab", "/[(]", "/abbc", "/a-b_c.d", "/zb", "/|a"};
  for (const char* pattern : patterns) {
    for (const bool ignore_case : {false, true}) {
      const auto compiled = Regex::compile(pattern, ignore_case, false);
      REQUIRE(compiled.regex);
      const RegexHint hint(pattern, ignore_case);
      // PCRE itself, without the hint: a group in front has none.
      const auto plain = Regex::compile("(?:)" + std::string(pattern), ignore_case, false);
      for (const char* subject : subjects) {
        INFO(pattern << " on " << subject);
        if (plain.regex->match(subject)) CHECK(hint.may_match(subject));
      }
    }
  }
}
