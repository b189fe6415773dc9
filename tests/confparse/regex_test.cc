#include "confparse/regex.h"

#include <catch2/catch.hpp>

using namespace weir::conf;

TEST_CASE("expressions match and give captures") {
  for (const bool jit : {false, true}) {
    const auto compiled = Regex::compile("^/(?<year>\\d+)(?:/(?<month>\\d+))?$", false, jit);
    REQUIRE(compiled.regex);
    const Regex& regex = *compiled.regex;
    CHECK(regex.group_count() == 2);
    REQUIRE(regex.names().size() == 2);
    CHECK((regex.names()[0].name == "month" && regex.names()[0].group == 2));
    const std::string subject = "/2026/11";
    const Regex::Match match = regex.match(subject);
    REQUIRE(match);
    CHECK(match.group(subject, 0) == "/2026/11");
    CHECK(match.group(subject, 1) == "2026");
    CHECK(match.group(subject, 2) == "11");
    CHECK(match.group(subject, 3) == "");
    const std::string shorter = "/2026";
    const Regex::Match second = regex.match(shorter);
    REQUIRE(second);
    CHECK(second.group(shorter, 2) == "");
    CHECK_FALSE(regex.match("x"));
    CHECK_FALSE(regex.match({}));
  }
}

TEST_CASE("letter case") {
  CHECK(Regex::compile("abc", true, false).regex->match("xABCx"));
  CHECK_FALSE(Regex::compile("abc", false, false).regex->match("xABCx"));
}

TEST_CASE("wrong expressions have nginx's text") {
  CHECK(Regex::compile("a(", false, false).error ==
        "pcre2_compile() failed: missing closing parenthesis in \"a(\"");
  CHECK(Regex::compile("a)", false, false).error ==
        "pcre2_compile() failed: unmatched closing parenthesis in \"a)\" at \")\"");
  CHECK(Regex::compile("^(?<1a>x)$", false, false).error ==
        "pcre2_compile() failed: subpattern name must start with a non-digit in \"^(?<1a>x)$\" at "
        "\"1a>x)$\"");
}

TEST_CASE("a match that explodes ends with an error") {
  const auto compiled = Regex::compile("^(a+)+$", false, false);
  const auto match = compiled.regex->match(std::string(200, 'a') + "!");
  CHECK(match.result == Regex::Match::Result::failed);
}
