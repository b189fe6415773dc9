#include "modules/shared/resolver.h"

#include <catch2/catch.hpp>

#include "tests/modules/support/compiled.h"

using namespace weir;

TEST_CASE("resolver: one family of addresses has to be left") {
  using test::Compiled;
  const std::string problem = "\"ipv4\" and \"ipv6\" cannot both be \"off\" in /p/nginx.conf:3";
  CHECK(Compiled("resolver 127.0.0.1 ipv4=off ipv6=off;").problem() == problem);
  CHECK(Compiled("resolver ipv6=off ipv4=off;").problem() == problem);
  CHECK(Compiled("resolver 127.0.0.1 ipv4=off;").problem().empty());
  CHECK(Compiled("resolver 127.0.0.1 ipv6=off;").problem().empty());
  CHECK(Compiled("resolver 127.0.0.1 ipv4=off ipv6=on;").problem().empty());
}
