#include <catch2/catch.hpp>

#include "engine/upstream/cluster.h"
#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;

namespace {

// What is wrong with the lines of an upstream; "": nothing.
std::string problem(const std::string& lines, const std::string& around = {}) {
  const std::string text = Compiled(around + " upstream app { " + lines + " }").problem();
  return text.substr(0, text.find(" in /p/"));
}

}  // namespace

TEST_CASE("upstream: what service= asks of its line") {
  CHECK(problem("zone z 64k; resolver 127.0.0.1; server app.test service=http resolve;") == "");
  CHECK(problem("zone z 64k; server app.test service=_x._tcp resolve weight=2 backup; server b:1;",
                "resolver;") == "");
  CHECK(problem("server app.test service=http;") ==
        "service upstream \"app.test\" requires \"resolve\" parameter");
  CHECK(problem("server app.test:80 service=http resolve;") ==
        "service upstream \"app.test:80\" may not have port");
  CHECK(problem("server 127.0.0.1 service=http resolve;") ==
        "service upstream \"127.0.0.1\" requires domain name");
  CHECK(problem("server app.test service= resolve;") == "service name is empty");
  CHECK(problem("server app.test service=http resolve;") ==
        "resolving names at run time requires upstream \"app\" to be in shared memory");
  CHECK(problem("zone z 64k; server app.test service=http resolve;") ==
        "no resolver defined to resolve names at run time in upstream \"app\"");
}

TEST_CASE("upstream: a service in a configuration") {
  const Compiled compiled(
      "resolver; upstream app { zone z 64k; server app.test service=http resolve weight=3; }");
  REQUIRE(compiled.problem() == "");
  const upstream::Server& server = compiled.graph().clusters[0]->servers[0];
  CHECK(server.service == "http");
  CHECK(server.host == "app.test");
  CHECK(server.resolve);
  CHECK(server.weight == 3);
  CHECK(server.addresses.empty());
}

TEST_CASE("upstream: retry_budget") {
  const Compiled compiled("upstream app { server a:1; retry_budget 25% min=30r/m window=5s; }");
  REQUIRE(compiled.problem() == "");
  const upstream::RetryBudget& budget = compiled.graph().clusters[0]->retry_budget;
  CHECK(budget.enabled);
  CHECK(budget.percent == 25);
  CHECK(budget.least_per_thousand_seconds == 500);
  CHECK(budget.window_milliseconds == 5000);
  CHECK_FALSE(Compiled("upstream app { server a:1; }").graph().clusters[0]->retry_budget.enabled);
  for (const char* words : {"20", "x%", "%", "-1%", "1001%"}) {
    CAPTURE(words);
    CHECK(problem("server a:1; retry_budget " + std::string(words) + ";") ==
          "invalid parameter \"" + std::string(words) + "\"");
  }
  for (const char* words : {"min=5", "min=r/s", "min=1000001r/s", "min=5r/h", "window=999ms",
                            "window=x", "window=2h", "x"}) {
    CAPTURE(words);
    CHECK(problem("server a:1; retry_budget 20% " + std::string(words) + ";") ==
          "invalid parameter \"" + std::string(words) + "\"");
  }
  CHECK(problem("server a:1; retry_budget 1%; retry_budget 2%;") ==
        "\"retry_budget\" directive is duplicate");
}
