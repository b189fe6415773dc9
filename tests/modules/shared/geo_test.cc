#include "modules/shared/geo.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>

#include "modules/shared/forwarded.h"
#include "tests/modules/support/compiled.h"

using namespace weir;
using test::Compiled;
using test::Values;

namespace {

std::string dotted(uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
         std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

// Compiles `geo $arg_ip $m_g { lines }` and asks it.
class Geo {
 public:
  explicit Geo(const std::string& lines)
      : compiled_("geo $arg_ip $m_g {\n" + lines + "}\nlog_format f $m_g$arg_ip;") {
    INFO(compiled_.problem());
    REQUIRE(compiled_.ok());
  }
  std::string at(const std::string& address) {
    Values values(compiled_.graph());
    values.set("arg_ip", address);
    return std::string(values.of("m_g").text);
  }

 private:
  Compiled compiled_;
};

}  // namespace

TEST_CASE("geo: the longest of many networks wins") {
  std::mt19937 random(11);
  // By length and first address.
  std::map<std::pair<int, uint32_t>, std::string> networks;
  for (int i = 0; i < 3000; ++i) {
    const int length = static_cast<int>(random() % 33);
    const uint32_t mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
    networks[{length, (random() & 0x0f0f00ff) & mask}] = "v" + std::to_string(random() % 50);
  }
  std::string lines;
  for (const auto& [network, value] : networks) {
    lines += dotted(network.second) + "/" + std::to_string(network.first) + " " + value + ";\n";
  }
  Geo geo(lines);
  for (int i = 0; i < 20000; ++i) {
    const uint32_t address = random() & (i % 2 ? 0x0f0f00ff : 0xffffffff);
    std::string expected;
    for (int length = 0; length <= 32; ++length) {
      const uint32_t mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
      const auto found = networks.find({length, address & mask});
      if (found != networks.end()) expected = found->second;
    }
    CAPTURE(dotted(address));
    REQUIRE(geo.at(dotted(address)) == expected);
  }
}

TEST_CASE("geo: ranges within ranges") {
  Geo geo(
      "ranges; default d; 10.0.0.0-10.0.255.255 a; 10.0.0.0-10.0.0.255 b; 10.0.255.0-10.0.255.255 "
      "c; 10.0.0.7-10.0.0.7 e; 255.255.255.254-255.255.255.254 f;\n");
  CHECK(geo.at("9.255.255.255") == "d");
  CHECK(geo.at("10.0.0.0") == "b");
  CHECK(geo.at("10.0.0.7") == "e");
  CHECK(geo.at("10.0.0.8") == "b");
  CHECK(geo.at("10.0.1.0") == "a");
  CHECK(geo.at("10.0.254.255") == "a");
  CHECK(geo.at("10.0.255.0") == "c");
  CHECK(geo.at("10.1.0.0") == "d");
  CHECK(geo.at("255.255.255.254") == "f");
  CHECK(geo.at("255.255.255.255") == "d");
  CHECK(geo.at("::1") == "d");
}

TEST_CASE("geo: the ends of the address space") {
  Geo geo(
      "255.255.255.255 last; 0.0.0.0 first; ::/128 six-first; "
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff six-last; ffff::/16 six-top;\n");
  CHECK(geo.at("0.0.0.0") == "first");
  CHECK(geo.at("0.0.0.1").empty());
  CHECK(geo.at("255.255.255.254").empty());
  CHECK(geo.at("255.255.255.255") == "last");
  CHECK(geo.at("no address") == "last");
  CHECK(geo.at("::") == "six-first");
  CHECK(geo.at("::2").empty());
  CHECK(geo.at("ffff::1") == "six-top");
  CHECK(geo.at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") == "six-last");
}

TEST_CASE("forwarded addresses: texts") {
  CHECK(shared::parse_forwarded("1.2.3.4").text() == "1.2.3.4:0");
  CHECK(shared::parse_forwarded("1.2.3.4:80").text() == "1.2.3.4:80");
  CHECK(shared::parse_forwarded("::1").text() == "[::1]:0");
  CHECK(shared::parse_forwarded("[::1]:80").text() == "[::1]:80");
  for (const char* text :
       {"", "x", "[::1]", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:x", "[::1]x", "[::1",
        "unix:/x", "[]:80", ":80", "1.2.3.4:80:80", "[", "1.2.3.4:99999999999999999999"}) {
    CAPTURE(text);
    CHECK(shared::parse_forwarded(text).empty());
  }
}
