#include <catch2/catch.hpp>

#include "engine/upstream/cluster.h"
#include "modules/http/grpc_health.h"
#include "modules/http/health_check.h"
#include "modules/stream/health_match.h"
#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;
using test::Values;

namespace {

// A configuration whose only health check has a match block with these lines.
class Matched {
 public:
  explicit Matched(const std::string& lines)
      : compiled_(
            "map $arg_x $m_good { yes 1; no 0; }\n"
            "upstream u { zone u 64k; server 127.0.0.1:9; }\n"
            "server { location / { proxy_pass http://u; health_check match=m; } }\n"
            "match m { " +
            lines + " }") {}
  std::string problem() const { return compiled_.problem(); }
  const http::HealthMatch& tests() const {
    const auto& check = *compiled_.graph().clusters.at(0)->checks.at(0);
    return *static_cast<const http::HttpHealthCheck&>(check).tests;
  }
  bool headers(const std::vector<std::pair<std::string, std::string>>& fields) const {
    Arena arena;
    http::HeaderList list;
    for (const auto& [name, value] : fields) list.add(arena, name, value);
    return tests().takes_headers(list);
  }
  bool required(const std::string& value) const {
    Values values(compiled_.graph());
    if (!value.empty()) values.set("arg_x", value);
    return tests().takes_variables(values);
  }

 private:
  Compiled compiled_;
};

// The statuses of a few that are taken.
std::string taken(const std::string& lines) {
  const Matched matched(lines);
  REQUIRE(matched.problem() == "");
  std::string all;
  for (const int status : {200, 204, 301, 302, 303, 307, 399, 400, 500, 599}) {
    if (matched.tests().takes_status(status)) all += std::to_string(status) + " ";
  }
  return all;
}

}  // namespace

TEST_CASE("match: status") {
  CHECK(taken("status 200;") == "200 ");
  CHECK(taken("status ! 500;") == "200 204 301 302 303 307 399 400 599 ");
  CHECK(taken("status 200 204;") == "200 204 ");
  CHECK(taken("status ! 301 302;") == "200 204 303 307 399 400 500 599 ");
  CHECK(taken("status 200-399;") == "200 204 301 302 303 307 399 ");
  CHECK(taken("status ! 400-599;") == "200 204 301 302 303 307 399 ");
  CHECK(taken("status 301-303 307;") == "301 302 303 307 ");
  CHECK(taken("status 200-399; status ! 301-303;") == "200 204 307 399 ");
  CHECK(taken("body ~ x;") == "200 204 301 302 303 307 399 400 500 599 ");
}

TEST_CASE("match: header") {
  const std::vector<std::pair<std::string, std::string>> none;
  CHECK(Matched("header Content-Type = text/html;").headers({{"content-type", "text/html"}}));
  CHECK_FALSE(
      Matched("header Content-Type = text/html;").headers({{"Content-Type", "text/html; x"}}));
  CHECK_FALSE(Matched("header Content-Type = text/html;").headers(none));
  CHECK(Matched("header Content-Type != text/html;").headers({{"Content-Type", "text/plain"}}));
  CHECK_FALSE(
      Matched("header Content-Type != text/html;").headers({{"Content-Type", "text/html"}}));
  CHECK_FALSE(Matched("header Content-Type != text/html;").headers(none));
  CHECK(Matched("header Connection ~ close;").headers({{"Connection", "x, close"}}));
  CHECK_FALSE(Matched("header Connection ~ close;").headers({{"Connection", "Close"}}));
  CHECK(Matched("header Connection ~* close;").headers({{"Connection", "Close"}}));
  CHECK(Matched("header Connection !~ close;").headers({{"Connection", "keep-alive"}}));
  CHECK_FALSE(Matched("header Connection !~ close;").headers({{"Connection", "close"}}));
  CHECK_FALSE(Matched("header Connection !~ close;").headers(none));
  CHECK(Matched("header Host;").headers({{"host", ""}}));
  CHECK_FALSE(Matched("header Host;").headers(none));
  CHECK(Matched("header ! X-Accel-Redirect;").headers(none));
  CHECK_FALSE(Matched("header ! X-Accel-Redirect;").headers({{"x-accel-redirect", "/"}}));
  // Several of a name.
  CHECK(Matched("header A = 2;").headers({{"A", "1"}, {"a", "2"}}));
  CHECK_FALSE(Matched("header A != 2;").headers({{"A", "1"}, {"a", "2"}}));
  CHECK_FALSE(Matched("header A = 1; header B = 1;").headers({{"A", "1"}}));
}

TEST_CASE("match: body and variables") {
  const Matched welcome(R"(body ~ "Welcome (to|from) nginx!"; body !~ "maintenance mode";)");
  CHECK(welcome.tests().takes_body("<p>Welcome to nginx!</p>"));
  CHECK_FALSE(welcome.tests().takes_body("<p>Goodbye</p>"));
  CHECK_FALSE(welcome.tests().takes_body("Welcome to nginx! This is the maintenance mode."));
  CHECK(welcome.tests().wants_body());
  const Matched required("require $m_good;");
  CHECK_FALSE(required.tests().wants_body());
  CHECK(required.required("yes"));
  CHECK_FALSE(required.required("no"));
  CHECK_FALSE(required.required("other"));
  CHECK_FALSE(Matched("require $arg_x $m_good;").required("no"));
  CHECK(Matched("require $arg_x $m_good;").required("yes"));
}

TEST_CASE("match: what is refused") {
  const auto refused = [](const char* lines) { return Matched(lines).problem(); };
  CHECK(refused("status;") ==
        "invalid number of arguments in \"status\" directive in /p/nginx.conf:6");
  CHECK(refused("status !;") ==
        "invalid number of arguments in \"status\" directive in /p/nginx.conf:6");
  CHECK(refused("status 20;") == "invalid status \"20\" in /p/nginx.conf:6");
  CHECK(refused("status 300-200;") == "invalid status \"300-200\" in /p/nginx.conf:6");
  CHECK(refused("status 2xx;") == "invalid status \"2xx\" in /p/nginx.conf:6");
  CHECK(refused("header A == b;") == "invalid parameter \"==\" in /p/nginx.conf:6");
  CHECK(refused("header A =;") ==
        "invalid number of arguments in \"header\" directive in "
        "/p/nginx.conf:6");
  CHECK(refused("body = x;") == "invalid parameter \"=\" in /p/nginx.conf:6");
  CHECK(refused("body ~ (;").starts_with("pcre2_compile() failed"));
  CHECK(refused("require x;") == "invalid variable name \"x\" in /p/nginx.conf:6");
  CHECK(refused("require $nothing_like_it;") == "unknown \"nothing_like_it\" variable");
  CHECK(refused("send x;") == "unknown directive \"send\" in /p/nginx.conf:6");
}

TEST_CASE("match: hexadecimal bytes of stream") {
  CHECK(stream::decode_hexadecimal("a\\x0d\\x0Ab") == "a\r\nb");
  CHECK(stream::decode_hexadecimal("\\x00\\xff") == std::string("\0\xff", 2));
  CHECK(stream::decode_hexadecimal("\\x0g \\x \\x1 \\y") == "\\x0g \\x \\x1 \\y");
  CHECK(stream::decode_hexadecimal("\\x-1\\x+1") == "\\x-1\\x+1");
}

TEST_CASE("gRPC's health messages") {
  CHECK(http::grpc_health_request("") == std::string(5, '\0'));
  CHECK(http::grpc_health_request("a.B") == std::string("\0\0\0\0\5\x0a\3a.B", 10));
  const std::string long_name(200, 'n');
  CHECK(http::grpc_health_request(long_name) ==
        std::string("\0\0\0\0\xcb\x0a\xc8\x01", 8) + long_name);
  const auto status = [](std::string_view message) {
    std::string framed("\0\0\0\0", 4);
    framed += static_cast<char>(message.size());
    framed += message;
    return http::grpc_serving_status(framed);
  };
  CHECK(status("\x08\x01") == 1);
  CHECK(status("\x08\x02") == 2);
  CHECK(status("") == 0);
  // Fields of later versions are passed over; the last one of ours counts.
  CHECK(status("\x12\x02xy\x08\x01") == 1);
  CHECK(status("\x08\x01\x08\x02") == 2);
  CHECK(status(std::string_view("\x1d\0\0\0\0\x08\x01", 7)) == 1);
  // What is not whole, or no such message.
  CHECK(status("\x08") == -1);
  CHECK(status("\x12\x05x") == -1);
  CHECK(status("\x0b") == -1);
  CHECK(status("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") == -1);
  CHECK(http::grpc_serving_status("") == -1);
  CHECK(http::grpc_serving_status(std::string_view("\1\0\0\0\2\x08\x01", 7)) == -1);
  CHECK(http::grpc_serving_status(std::string_view("\0\0\0\0\3\x08\x01", 7)) == -1);
  CHECK(http::grpc_serving_status(std::string_view("\0\xff\xff\xff\xff\x08\x01", 7)) == -1);
}
