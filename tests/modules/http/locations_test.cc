#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;
using test::Values;

namespace {

// The chosen location's name, "-" for none, "name →" where it redirects to itself with a slash.
std::string choose(const Compiled& compiled, std::string_view uri) {
  Values values(compiled.graph());
  const auto found = compiled.server().locations.find(uri, values);
  if (!found.location) return "-";
  return found.location->name + (found.auto_redirect ? " →" : "");
}

}  // namespace

TEST_CASE("locations: exact, longest prefix, expressions") {
  const Compiled compiled(R"(server {
    location / { }
    location = / { }
    location /images/ { }
    location /images/large { }
    location ^~ /static/ { }
    location ^~ /static/x { }
    location = /exact { }
    location /exact/more { }
    location ~ \.png$ { }
    location ~* \.GIF$ { }
    location ~ \.p { }
  })");
  REQUIRE(compiled.problem() == "");
  CHECK(choose(compiled, "/") == "/");
  CHECK(compiled.server()
            .locations.find("/", *std::make_unique<Values>(compiled.graph()))
            .location->kind == http::Location::Kind::exact);
  CHECK(choose(compiled, "/other") == "/");
  CHECK(choose(compiled, "/images/a.jpg") == "/images/");
  CHECK(choose(compiled, "/images/large.jpg") == "/images/large");
  CHECK(choose(compiled, "/images") == "/");
  CHECK(choose(compiled, "/images/a.png") == "\\.png$");
  CHECK(choose(compiled, "/images/a.gif") == "\\.GIF$");
  CHECK(choose(compiled, "/images/a.pdf") == "\\.p");
  CHECK(choose(compiled, "/static/a.png") == "/static/");
  CHECK(choose(compiled, "/static/x.png") == "/static/x");
  CHECK(choose(compiled, "/exact") == "/exact");
  CHECK(choose(compiled, "/exact.png") == "\\.png$");
  CHECK(choose(compiled, "/exact/more/x") == "/exact/more");
}

TEST_CASE("locations: nested ones, and the expressions around them") {
  const Compiled compiled(R"(server {
    location /a/ {
      location /a/b/ { location /a/b/c { } }
      location = /a/e.png { }
      location ~ \.in$ { }
      location ^~ /a/quiet/ { }
    }
    location ^~ /q/ { location /q/in/ { } location ~ \.in$ { } }
    location ~ \.png$ { location ~ big { } }
    location ~ \.in$ { }
  })");
  REQUIRE(compiled.problem() == "");
  CHECK(choose(compiled, "/a/x") == "/a/");
  CHECK(choose(compiled, "/a/b/x") == "/a/b/");
  CHECK(choose(compiled, "/a/b/cd") == "/a/b/c");
  CHECK(choose(compiled, "/a/b/x.png") == "\\.png$");
  CHECK(choose(compiled, "/a/e.png") == "/a/e.png");
  CHECK(choose(compiled, "/a/big.png") == "big");
  CHECK(choose(compiled, "/a/x.in") == "\\.in$");
  // ^~ inside silences the expressions beside it, not those of the level above.
  CHECK(choose(compiled, "/a/quiet/x.in") == "\\.in$");
  CHECK(choose(compiled, "/a/quiet/x") == "/a/quiet/");
  // ^~ outside silences those of its level, not those inside.
  CHECK(choose(compiled, "/q/in/x.png") == "/q/in/");
  CHECK(choose(compiled, "/q/x.in") == "\\.in$");
  CHECK(choose(compiled, "/none") == "-");
}

TEST_CASE("locations: a proxied folder redirects to its slash") {
  const Compiled compiled(R"(server {
    location / { }
    location /p/ { proxy_pass http://127.0.0.1:1; }
    location /x/ { proxy_pass http://127.0.0.1:1; }
    location = /x { }
    location /y { }
    location /y/ { proxy_pass http://127.0.0.1:1; }
    location /files/ { }
    location ~ ^/p$ { }
  })");
  REQUIRE(compiled.problem() == "");
  CHECK(choose(compiled, "/p") == "/p/ →");
  CHECK(choose(compiled, "/p/") == "/p/");
  CHECK(choose(compiled, "/x") == "/x");
  CHECK(choose(compiled, "/y") == "/y");
  CHECK(choose(compiled, "/files") == "/");
}

TEST_CASE("locations: many names with shared beginnings") {
  std::string text = "server { location / { }";
  for (int i = 0; i < 300; ++i) text += " location /n" + std::to_string(i) + " { }";
  const Compiled compiled(text + " }");
  REQUIRE(compiled.problem() == "");
  for (int i = 0; i < 300; ++i) {
    const std::string name = "/n" + std::to_string(i);
    CHECK(choose(compiled, name) == name);
    CHECK(choose(compiled, name + "/x") == name);
  }
  CHECK(choose(compiled, "/n") == "/");
  CHECK(choose(compiled, "/n2999") == "/n299");
}

TEST_CASE("locations: what cannot be") {
  CHECK(Compiled("server { location /a { } location /a { } }").problem() ==
        "duplicate location \"/a\" in /p/nginx.conf:3");
  CHECK(Compiled("server { location /a { location /b { } } }").problem() ==
        "location \"/b\" is outside location \"/a\" in /p/nginx.conf:3");
  CHECK(Compiled("server { location = /a { location /a/b { } } }").problem() ==
        "location \"/a/b\" cannot be inside the exact location \"/a\" in /p/nginx.conf:3");
  CHECK(Compiled("server { location @a { location /b { } } }").problem() ==
        "location \"/b\" cannot be inside the named location \"@a\" in /p/nginx.conf:3");
  CHECK(Compiled("server { location /a { location @b { } } }").problem() ==
        "named location \"@b\" can be on the server level only in /p/nginx.conf:3");
  CHECK(Compiled("server { location ? /a { } }").problem() ==
        "invalid location modifier \"?\" in /p/nginx.conf:3");
}
