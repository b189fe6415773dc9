#include "engine/net/address.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <unordered_set>

using weir::net::Address;

TEST_CASE("addresses parse and print as nginx prints them", "[address]") {
  struct Row {
    const char* text;
    const char* printed;  // null: refused
    const char* host;
    uint16_t port;
  };
  const Row rows[] = {
      {"127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", 80},
      {"127.0.0.1", "127.0.0.1:8080", "127.0.0.1", 8080},
      {"255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255", 65535},
      {"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0", 0},
      {"[::1]:80", "[::1]:80", "::1", 80},
      {"[::]", "[::]:8080", "::", 8080},
      {"::1", "[::1]:8080", "::1", 8080},
      {"::2", "[::2]:8080", "::2", 8080},
      {"2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:8080", "2001:db8::1:0:0:1", 8080},
      {"::ffff:1.2.3.4", "[::ffff:1.2.3.4]:8080", "::ffff:1.2.3.4", 8080},
      {"::1.2.3.4", "[::1.2.3.4]:8080", "::1.2.3.4", 8080},
      {"::1:2", "[::0.1.0.2]:8080", "::0.1.0.2", 8080},
      {"::102", "[::0.0.1.2]:8080", "::0.0.1.2", 8080},
      {"1::", "[1::]:8080", "1::", 8080},
      {"1:0:0:2:0:0:0:3", "[1:0:0:2::3]:8080", "1:0:0:2::3", 8080},
      {"1:0:0:2:0:0:3:0", "[1::2:0:0:3:0]:8080", "1::2:0:0:3:0", 8080},
      {"1:0:2:3:4:5:6:7", "[1:0:2:3:4:5:6:7]:8080", "1:0:2:3:4:5:6:7", 8080},
      {"1:2:3:4:5:6:0:0", "[1:2:3:4:5:6::]:8080", "1:2:3:4:5:6::", 8080},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:8080",
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 8080},
      {"unix:/run/x.sock", "unix:/run/x.sock", "unix:", 0},
      {"", nullptr, nullptr, 0},
      {"localhost", nullptr, nullptr, 0},
      {"127.0.0.1:", nullptr, nullptr, 0},
      {"127.0.0.1:65536", nullptr, nullptr, 0},
      {"127.0.0.1:80x", nullptr, nullptr, 0},
      {"127.0.0.1:-1", nullptr, nullptr, 0},
      {"1.2.3.400", nullptr, nullptr, 0},
      {"1.2.3", nullptr, nullptr, 0},
      {"[::1", nullptr, nullptr, 0},
      {"[::1]80", nullptr, nullptr, 0},
      {"[127.0.0.1]:80", nullptr, nullptr, 0},
      {"::1::", nullptr, nullptr, 0},
      {"unix:", nullptr, nullptr, 0},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    auto address = Address::parse(row.text, 8080);
    REQUIRE(address.has_value() == (row.printed != nullptr));
    if (!address) continue;
    CHECK(address->text() == row.printed);
    CHECK(address->host_text() == row.host);
    CHECK(address->port() == row.port);
    CHECK(Address::from_bytes(address->bytes()) == *address);
    Address copy;
    copy = *address;
    CHECK(copy == *address);
    CHECK(copy.hash() == address->hash());
  }
  CHECK_FALSE(Address::parse("unix:" + std::string(200, 'x')));
  CHECK_FALSE(Address::parse_host(std::string_view("1.2.3.4\0x", 9)));
}

TEST_CASE("addresses compare by value, ports apart where asked", "[address]") {
  Address a = *Address::parse("10.0.0.1:80");
  Address b = *Address::parse("10.0.0.1:81");
  Address c = *Address::parse("[::1]:80");
  Address d = *Address::parse("unix:/a");
  Address e = *Address::parse("unix:/ab");
  CHECK_FALSE(a == b);
  CHECK(a.same_host(b));
  CHECK_FALSE(a.same_host(c));
  CHECK_FALSE(d == e);
  CHECK_FALSE(d.same_host(e));
  b.set_port(80);
  CHECK(a == b);
  std::unordered_set<Address> set{a, b, c, d, e};
  CHECK(set.size() == 4);
  a = d;
  CHECK(a == d);
  a = std::move(c);
  CHECK(a.text() == "[::1]:80");
  Address none;
  CHECK(none.empty());
  CHECK(none.text().empty());
  CHECK(none == Address());
  CHECK(sizeof(Address) <= 40);
}

TEST_CASE("binary forms", "[address]") {
  CHECK(Address::parse("1.2.3.4:5")->binary() == std::string_view("\1\2\3\4", 4));
  CHECK(Address::parse("[::1]:5")->binary().size() == 16);
  CHECK(Address::from_binary(Address::parse("[fe80::1]:5")->binary(), 7).text() == "[fe80::1]:7");
  CHECK(Address::parse("::ffff:1.2.3.4")->unmapped().text() == "1.2.3.4:0");
  CHECK(Address::parse("::1")->unmapped().text() == "[::1]:0");
  CHECK(Address::parse("0.0.0.0:1")->is_wildcard());
  CHECK(Address::parse("[::]:1")->is_wildcard());
  CHECK_FALSE(Address::parse("[::1]:1")->is_wildcard());
  CHECK_FALSE(Address::parse("unix:/x")->is_wildcard());
}

TEST_CASE("odd kernel forms", "[address]") {
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  Address address(reinterpret_cast<sockaddr*>(&unnamed), sizeof(sa_family_t));
  CHECK(address.is_unix());
  CHECK(address.text() == "unix:");
  CHECK(address == Address(reinterpret_cast<sockaddr*>(&unnamed), sizeof(sa_family_t)));
  // A path that fills the field has no NUL.
  std::memset(unnamed.sun_path, 'p', sizeof(unnamed.sun_path));
  Address full(reinterpret_cast<sockaddr*>(&unnamed), sizeof(unnamed));
  CHECK(full.path().size() == sizeof(unnamed.sun_path));
  CHECK(full.text() == "unix:" + std::string(sizeof(unnamed.sun_path), 'p'));
  CHECK(Address::from_bytes("").empty());
  CHECK(Address::from_bytes("x").empty());
  CHECK(Address::from_bytes(std::string_view("\x02\x00\x00\x50", 4)).empty());
  CHECK(Address::from_bytes(std::string(300, '\x7f')).empty());
  CHECK(Address::local_of(-1).empty());
}

TEST_CASE("an address has no bytes of what was there before") {
  for (const char* text : {"[2001:db8::1]:80", "1.2.3.4:5"}) {
    alignas(Address) char first[sizeof(Address)];
    alignas(Address) char second[sizeof(Address)];
    std::memset(first, 0x11, sizeof first);
    std::memset(second, 0x22, sizeof second);
    const Address parsed = *Address::parse(text);
    auto* one = new (first) Address(Address::from_binary(parsed.binary(), parsed.port()));
    auto* two = new (second) Address(Address::from_binary(parsed.binary(), parsed.port()));
    CHECK(*one == *two);
    CHECK(*one == parsed);
    one->~Address();
    two->~Address();
  }
}
