#include "confparse/address.h"

#include <catch2/catch.hpp>

#include "confparse/worlds.h"

using namespace weir::conf;

namespace {

VirtualWorld world_with_hosts() {
  VirtualWorld world;
  world.add_host("localhost", "127.0.0.1");
  world.add_host("127.1", "127.0.0.1");
  return world;
}

std::string problem(std::string_view text, const UrlRules& rules) {
  VirtualWorld world = world_with_hosts();
  return parse_url(world, text, rules).problem;
}

}  // namespace

// Verdicts and texts taken from nginx's `listen`.
TEST_CASE("addresses of listen") {
  const UrlRules rules{.listen = true};
  for (const char* right :
       {"80", "65535", "127.0.0.1", "127.0.0.1:8081", "*:8082", "*", "[::1]:8084", "[::1]", "[::]",
        "localhost:8085", "unix:/tmp/s", "8090-8092", "127.0.0.1:8090-8092", "08080", "127.1:8095",
        "8090-8090", "[::1]:8090-8091", "unix:/tmp/s:80", "UNIX:x"}) {
    CAPTURE(right);
    CHECK(problem(right, rules) == "");
  }
  const std::pair<const char*, const char*> wrong[] = {
      {"0", "invalid port"},
      {"65536", "invalid port"},
      {"-1", "host not found"},
      {"abc", "host not found"},
      {"127.0.0.1:", "invalid port"},
      {"127.0.0.1:0", "invalid port"},
      {"127.0.0.1:x", "invalid port"},
      {"*:", "invalid port"},
      {":8083", "no host"},
      {"[::1", "invalid host"},
      {"[::1]8084", "invalid host"},
      {"[x]:80", "invalid IPv6 address"},
      {"[::1]:", "invalid port"},
      {"nosuch", "host not found"},
      {"unix:", "no path in the unix domain socket"},
      {"8092-8090", "invalid port range"},
      {"8090-", "host not found"},
      {"8090-99999", "invalid port"},
      {"127.0.0.1:8090-8092-1", "invalid port"},
      {"a/b:80", "invalid host"},
      {"8080/x", "invalid host"},
      {"", "no host"},
      {"8080x", "host not found"},
      {"127.0.0.1.:80", "host not found"},
      {"256.1.1.1:80", "host not found"},
      {"http://127.0.0.1", "invalid host"},
      {"127.0.0.1:80:90", "invalid port"},
  };
  for (const auto& [text, expected] : wrong) {
    CAPTURE(text);
    CHECK(problem(text, rules) == expected);
  }
  CHECK(problem("unix:" + std::string(107, 'a'), rules) == "");
  CHECK(problem("unix:" + std::string(120, 'a'), rules) ==
        "too long path in the unix domain socket");
}

TEST_CASE("parts of addresses") {
  VirtualWorld world = world_with_hosts();
  Url url = parse_url(world, "8090-8092", {.listen = true});
  CHECK((url.wildcard && url.port == 8090 && url.last_port == 8092 && url.addresses.size() == 1));
  url = parse_url(world, "[::]:81", {.listen = true});
  CHECK((url.wildcard && url.kind == Url::Kind::ipv6 && url.host == "[::]" && url.port == 81));
  url = parse_url(world, "localhost/a?b", {.uri_part = true});
  CHECK((url.host == "localhost" && url.no_port && url.port == 80 && url.uri == "/a?b"));
  CHECK(url.addresses[0] == address_of_text("127.0.0.1", 80));
  url = parse_url(world, "h:8080?x", {.uri_part = true, .no_resolve = true});
  CHECK((url.ok() && url.host == "h" && url.port == 8080 && url.port_text == "8080" &&
         url.uri == "?x" && url.addresses.empty()));
  url = parse_url(world, "unix:/tmp/s:/u", {.uri_part = true});
  CHECK((url.host == "/tmp/s" && url.uri == "/u" && url.kind == Url::Kind::unix_socket));
  CHECK(parse_url(world, "*", {}).problem == "host not found");
  CHECK(parse_url(world, "127.0.0.1:80-81", {}).problem == "invalid port");
  CHECK(parse_url(world, "80", {}).problem == "host not found");
  CHECK(parse_url(world, "[::1]x", {.uri_part = true}).problem == "invalid host");
}

TEST_CASE("networks") {
  Cidr cidr;
  for (const char* right :
       {"10.0.0.0/8", "::1", "::1/128", "2001::/16", "1.2.3.4/32", "01.2.3.4", "0.0.0.0/0"}) {
    CAPTURE(right);
    CHECK(parse_cidr(right, cidr) == CidrResult::ok);
  }
  for (const char* low : {"10.0.0.1/8", "10.0.0.0/0", "1.2.3.4/08", "2001::1/16"}) {
    CAPTURE(low);
    CHECK(parse_cidr(low, cidr) == CidrResult::low_bits);
  }
  for (const char* wrong :
       {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "x", "::1/129", "1.2.3", "fe80::1%eth0", "/8",
        "1.2.3.4/-1", "1.2.3.0/255.255.255.0", "256.2.3.4", "1.2.3.1000", ""}) {
    CAPTURE(wrong);
    CHECK(parse_cidr(wrong, cidr) == CidrResult::invalid);
  }
  REQUIRE(parse_cidr("10.1.2.3/12", cidr) == CidrResult::low_bits);
  CHECK(cidr.contains_ipv4(0x0a0f0000));
  CHECK_FALSE(cidr.contains_ipv4(0x0a100000));
}
