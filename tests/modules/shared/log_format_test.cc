#include "modules/shared/log_format.h"

#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

using namespace weir;
using shared::LogEscape;

namespace {

std::string escaped(std::string_view text, LogEscape escape) {
  std::string line;
  shared::append_escaped(line, conf::Value::of(text), escape);
  return line;
}

}  // namespace

TEST_CASE("log format: escapes") {
  using namespace std::string_view_literals;
  CHECK(escaped("plain ~ text", LogEscape::standard) == "plain ~ text");
  CHECK(escaped("\"\\\x7f\xff\n\0"sv, LogEscape::standard) == "\\x22\\x5C\\x7F\\xFF\\x0A\\x00");
  CHECK(escaped("", LogEscape::standard).empty());
  CHECK(escaped("\"\\/\n\r\t\b\f\x01\x1f\x7f\xc3\xa9", LogEscape::json) ==
        "\\\"\\\\/\\n\\r\\t\\b\\f\\u0001\\u001F\x7f\xc3\xa9");
  CHECK(escaped("", LogEscape::json).empty());
  CHECK(escaped("\"\n", LogEscape::none) == "\"\n");
  for (const auto& [escape, text] :
       {std::pair{LogEscape::standard, "-"}, {LogEscape::json, ""}, {LogEscape::none, ""}}) {
    std::string line;
    shared::append_escaped(line, conf::Value::none(), escape);
    CHECK(line == text);
  }
}

TEST_CASE("log format: what it is made of") {
  using test::Compiled;
  CHECK(Compiled("log_format a '$uri ${args}x$1$$';").problem() ==
        "invalid parameter \"$$\" in /p/nginx.conf:3");
  CHECK(Compiled("log_format a '$uri ${args';").problem() ==
        "the closing bracket in \"args\" variable is missing in /p/nginx.conf:3");
  CHECK(Compiled("log_format a '${uri-x}';").problem() ==
        "the closing bracket in \"uri\" variable is missing in /p/nginx.conf:3");
  CHECK(Compiled("log_format a $uri; log_format a $uri;").problem() ==
        "duplicate \"log_format\" name \"a\" in /p/nginx.conf:3");
  CHECK(Compiled("log_format combined $uri;").problem() ==
        "duplicate \"log_format\" name \"combined\" in /p/nginx.conf:3");
  CHECK(Compiled("log_format a escape=xml $uri;").problem() ==
        "unknown log format escaping \"xml\" in /p/nginx.conf:3");
  CHECK(Compiled("log_format a $nothing_defines_it;").problem() ==
        "unknown \"nothing_defines_it\" variable");
  CHECK(Compiled("access_log logs/a b;").problem() ==
        "unknown log format \"b\" in /p/nginx.conf:3");
}
