#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;
using test::Values;

namespace {

std::string mapped(const Compiled& compiled, std::string value) {
  Values values(compiled.graph());
  values.set("arg_x", std::move(value));
  return std::string(values.of("m_result").text);
}

Compiled map_of(const std::string& lines) {
  return Compiled("map $arg_x $m_result { " + lines + " }\nlog_format f $m_result;");
}

}  // namespace

TEST_CASE("map: text, expressions, the default") {
  const Compiled compiled = map_of(R"(
    default none;
    one 1;
    "" empty;
    \default literal;
    ~^re(\d)$ "re $1 $arg_x";
    ~*^UP$ up;
    ~(?<named>z+) $named;
  )");
  REQUIRE(compiled.problem() == "");
  CHECK(mapped(compiled, "one") == "1");
  CHECK(mapped(compiled, "ONE") == "1");
  CHECK(mapped(compiled, "") == "empty");
  CHECK(mapped(compiled, "default") == "literal");
  CHECK(mapped(compiled, "re7") == "re 7 re7");
  CHECK(mapped(compiled, "uP") == "up");
  CHECK(mapped(compiled, "azzb") == "zz");
  CHECK(mapped(compiled, "two") == "none");
}

TEST_CASE("map: without a default it is empty") {
  const Compiled compiled = map_of("one 1;");
  REQUIRE(compiled.problem() == "");
  CHECK(mapped(compiled, "two").empty());
}

TEST_CASE("map: hostnames") {
  const Compiled compiled = map_of(R"(
    hostnames;
    default none;
    example.com exact;
    *.example.com below;
    *.deep.example.com deeper;
    .dot.org dot;
    mail.* mail;
    mail.example.* longer;
  )");
  REQUIRE(compiled.problem() == "");
  CHECK(mapped(compiled, "example.com") == "exact");
  CHECK(mapped(compiled, "example.com.") == "exact");
  CHECK(mapped(compiled, "EXAMPLE.com") == "exact");
  CHECK(mapped(compiled, "a.b.example.com") == "below");
  CHECK(mapped(compiled, "x.deep.example.com") == "deeper");
  CHECK(mapped(compiled, "dot.org") == "dot");
  CHECK(mapped(compiled, "x.dot.org") == "dot");
  CHECK(mapped(compiled, "xdot.org") == "none");
  CHECK(mapped(compiled, "mail.org") == "mail");
  CHECK(mapped(compiled, "mail.example.org") == "longer");
  CHECK(mapped(compiled, "mail") == "none");
}

TEST_CASE("map: what cannot be") {
  CHECK(map_of("a 1; A 2;").problem() == "conflicting parameter \"a\" in /p/nginx.conf:3");
  CHECK(map_of("default 1; default 2;").problem() ==
        "duplicate default map parameter in /p/nginx.conf:3");
  CHECK(map_of("a b c;").problem() == "invalid number of the map parameters in /p/nginx.conf:3");
  CHECK(map_of("hostnames; *.*.a 1;").problem() ==
        "invalid hostname or wildcard \"*.*.a\" in /p/nginx.conf:3");
  CHECK_FALSE(map_of("~( 1;").ok());
}
