#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;
using test::Values;

namespace {

// $server_name of the server that answers for `host`.
std::string server_for(const Compiled& compiled, std::string_view host) {
  Values values(compiled.graph());
  const http::Listener& listener = *compiled.graph().listeners[0];
  const http::VirtualServer* server = listener.names.find(host, &values);
  return (server ? server : listener.default_server)->names[0];
}

}  // namespace

TEST_CASE("server names: exact before wildcards before expressions") {
  const Compiled compiled(R"(
    server { listen 80; server_name default; }
    server { listen 80; server_name ~^www\d+\.example\.com$; }
    server { listen 80; server_name *.example.com; }
    server { listen 80; server_name *.b.example.com; }
    server { listen 80; server_name WWW.example.com; }
    server { listen 80; server_name www.example.*; }
    server { listen 80; server_name www.*; }
    server { listen 80; server_name .dot.org; }
    server { listen 80; server_name ~^(?<label>.+)\.net$; }
  )");
  REQUIRE(compiled.problem() == "");
  CHECK(server_for(compiled, "www.example.com") == "www.example.com");
  CHECK(server_for(compiled, "www1.example.com") == "*.example.com");
  CHECK(server_for(compiled, "a.b.example.com") == "*.b.example.com");
  CHECK(server_for(compiled, "b.example.com") == "*.example.com");
  CHECK(server_for(compiled, "example.com") == "default");
  CHECK(server_for(compiled, ".example.com") == "*.example.com");
  CHECK(server_for(compiled, "www.example.org") == "www.example.*");
  CHECK(server_for(compiled, "www.other.org") == "www.*");
  CHECK(server_for(compiled, "www") == "default");
  CHECK(server_for(compiled, "dot.org") == "dot.org");
  CHECK(server_for(compiled, "a.b.dot.org") == "dot.org");
  CHECK(server_for(compiled, "x.net") == "~^(?<label>.+)\\.net$");
  CHECK(server_for(compiled, "") == "default");
}

TEST_CASE("server names: the captures of an expression are kept") {
  const Compiled compiled(R"(
    log_format f $label;
    server { listen 80; server_name ~^(?<label>.+)\.net$; }
  )");
  REQUIRE(compiled.problem() == "");
  Values values(compiled.graph());
  REQUIRE(compiled.graph().listeners[0]->names.find("some.net", &values) != nullptr);
  CHECK(values.of("label").text == "some");
}

TEST_CASE("server names: a default server, and conflicts") {
  const Compiled compiled(R"(
    server { listen 80; server_name first same; }
    server { listen 80 default_server; server_name second same; }
  )");
  CHECK(compiled.ok());
  CHECK(compiled.problem() == "conflicting server name \"same\" on 0.0.0.0:80, ignored");
  CHECK(server_for(compiled, "same") == "first");
  CHECK(server_for(compiled, "other") == "second");
  CHECK(Compiled("server { listen 80 default_server; } server { listen 80 default_server; }")
            .problem() == "a duplicate default server for 0.0.0.0:80 in /p/nginx.conf:3");
  CHECK_FALSE(Compiled("server { server_name *x.org; }").ok());
  // Looked at where several servers share an address, as in nginx.
  CHECK_FALSE(Compiled("server { server_name a.*.org; } server { server_name b; }").ok());
}
