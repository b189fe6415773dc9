#include "confparse/value.h"

#include <catch2/catch.hpp>

using namespace weir::conf;

TEST_CASE("numbers and sizes") {
  CHECK(parse_number("0") == 0);
  CHECK(parse_number("9223372036854775807") == INT64_MAX);
  for (const char* wrong :
       {"", "-1", "+1", "1x", " 1", "9223372036854775808", "99999999999999999999"}) {
    CHECK_FALSE(parse_number(wrong));
  }
  CHECK(parse_size("1K") == 1024u);
  CHECK(parse_size("2m") == 2u * 1024 * 1024);
  CHECK(parse_size("9007199254740991k") == 9223372036854774784u);
  for (const char* wrong : {"9007199254740992k", "k", "1g", "1kk", "", "-1"}) {
    CHECK_FALSE(parse_size(wrong));
  }
  CHECK(parse_offset("1g") == 1024 * 1024 * 1024);
  CHECK(parse_offset("8589934591G") == 8589934591 * 1024 * 1024 * 1024);
  for (const char* wrong : {"8589934592g", "g", "", "1t"}) CHECK_FALSE(parse_offset(wrong));
  CHECK(parse_fixed("1.5", 3) == 1500);
  CHECK(parse_fixed("12", 2) == 1200);
  CHECK_FALSE(parse_fixed("1.234", 2));
  CHECK_FALSE(parse_fixed("1.2.3", 4));
}

TEST_CASE("flags in any letter case") {
  CHECK(parse_flag("on") == true);
  CHECK(parse_flag("ON") == true);
  CHECK(parse_flag("oFf") == false);
  CHECK_FALSE(parse_flag("1"));
  CHECK_FALSE(parse_flag(""));
}

// Every verdict here was taken from nginx (client_body_timeout, and proxy_cache_valid for seconds).
TEST_CASE("times") {
  const std::pair<const char*, int64_t> milliseconds[] = {
      {"1", 1000},
      {"1s", 1000},
      {"1ms", 1},
      {"1m", 60'000},
      {"1h", 3'600'000},
      {"1d", 86'400'000},
      {"1w", 604'800'000},
      {"1w1d1h1m1s1ms", 694'861'001},
      {"1s 1ms", 1001},
      {"1h 30m", 5'400'000},
      {"1h30", 3'630'000},
      {"1h 30", 3'630'000},
      {"1s 30", 31'000},
      {"1 ", 1000},
      {"  1", 1000},
      {"1s ", 1000},
      {"1s1", 2000},
      {"1m1", 61'000},
      {"0", 0},
      {"0s", 0},
      {"1 1", 2000},
      {"5 5", 10'000},
      {"9223372036854775", 9223372036854775000},
      {"9223372036854775807ms", INT64_MAX},
      {"2562047788015h", 9223372036854000000},
  };
  for (const auto& [text, value] : milliseconds) {
    CAPTURE(text);
    CHECK(parse_milliseconds(text) == value);
  }
  for (const char* wrong : {"1M",
                            "1y",
                            "1y1M1w1d1h1m1s1ms",
                            "1s1m",
                            "1m1m",
                            "1 h",
                            "30 1h",
                            "1ms 1s",
                            "ms",
                            "m",
                            "1mm",
                            "1S",
                            "1H",
                            " 1s",
                            "1.5s",
                            "-1s",
                            "9223372036854775807",
                            "9223372036854776",
                            "9223372036854775808ms",
                            "2562047788016h",
                            "1y1y",
                            "106751991168d",
                            "15250284453w",
                            "0y",
                            "1w 1w",
                            "s",
                            "1ms1ms",
                            "1 1s",
                            "9223372036854774808ms1s",
                            "",
                            "5 s",
                            "5 5 5"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_milliseconds(wrong));
  }
  CHECK(parse_seconds("1y1M1w1d1h1m1s") == 31536000 + 2592000 + 604800 + 86400 + 3600 + 60 + 1);
  CHECK(parse_seconds("1y 1M") == 31536000 + 2592000);
  CHECK(parse_seconds("292471208677y") == 292471208677 * 31536000);
  CHECK(parse_seconds("9223372036854775807") == INT64_MAX);
  for (const char* wrong :
       {"1ms", "1M1y", "292471208678y", "292471208677y365d", "15250284452472w"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_seconds(wrong));
  }
}
