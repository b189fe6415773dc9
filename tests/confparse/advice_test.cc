#include "confparse/advice.h"

#include <catch2/catch.hpp>

#include "confparse/nearest.h"

using namespace weir::conf;

namespace {

std::string nearest_of(std::string_view wrong, std::initializer_list<std::string_view> words,
                       Nearest::Likeness likeness = Nearest::Likeness::spelling) {
  Nearest nearest(wrong, likeness);
  for (const std::string_view word : words) nearest.consider(word);
  return nearest.best();
}

bool says(const std::string& help, std::string_view part) {
  return help.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the nearest word is found") {
  CHECK(edit_distance("listn", "listen", 2) == 1);
  CHECK(edit_distance("lisetn", "listen", 2) == 1);  // a swap
  CHECK(edit_distance("abcdef", "listen", 2) == 3);
  CHECK(edit_distance(std::string(200, 'a'), std::string(200, 'a'), 2) == 3);
  CHECK(nearest_of("wieght", {"max_fails", "weight", "backup"}) == "weight");
  CHECK(nearest_of("ServerName", {"server_tokens", "server_name"}) == "server_name");
  CHECK(nearest_of("proxy-pass", {"proxy_pass"}) == "proxy_pass");
  CHECK(nearest_of("xyz", {"off", "on"}).empty());
  CHECK(nearest_of("weight", {"weight"}).empty());  // that is no mistake
  CHECK(nearest_of("1.2", {"1.0", "1.1"}).empty());
  CHECK(nearest_of("", {"on"}).empty());
  CHECK(nearest_of("warning", {"notice", "warn"}).empty());
  CHECK(nearest_of("warning", {"notice", "warn"}, Nearest::Likeness::shortened) == "warn");
  CHECK(nearest_of("max", {"max_conns"}, Nearest::Likeness::shortened).empty());
}

TEST_CASE("a smaller handicap wins over likeness") {
  Nearest nearest("servr");
  CHECK(nearest.consider("server", 1));
  CHECK(nearest.consider("serve", 0));
  CHECK_FALSE(nearest.consider("server", 1));
  CHECK(nearest.best() == "serve");
  CHECK(nearest.handicap() == 0);
}

TEST_CASE("values are explained by what they were meant to be") {
  CHECK(says(explain_time("30sec"), "\"30sec\" is written 30s\n"));
  CHECK(says(explain_time("5MIN"), "is written 5m\n"));
  CHECK(says(explain_time("1.5s"), "no fractions"));
  CHECK(says(explain_time("-1"), "no sign"));
  CHECK(explain_time("5x").starts_with("a time is a number with a unit"));
  CHECK(says(explain_size("10mb", false), "is written 10m\n"));
  CHECK(says(explain_size("1g", false), "is written 1024m\n"));
  CHECK(says(explain_size("1gb", true), "is written 1g\n"));
  CHECK(says(explain_size("1.5m", true), "no fractions"));
  CHECK_FALSE(says(explain_size("99999999999999999999g", false), "written"));
  CHECK(explain_flag("TRUE") == "write on");
  CHECK(explain_flag("0") == "write off");
  CHECK(says(explain_number("1k"), "no unit"));
  CHECK(explain_choice("ane", {"all", "any"}) ==
        "did you mean \"any\"? It must be \"all\" or \"any\"");
}

TEST_CASE("parameters are read from a usage line") {
  const auto parameters = usage_parameters(
      "ADDRESS[:PORT] | unix:PATH [ssl] [backlog=NUMBER] [gzip[=LEVEL]] "
      "[keep=on|off|[IDLE]:[COUNT]] off | TIME");
  REQUIRE(parameters.size() == 5);
  CHECK((parameters[0].name == "ssl" && parameters[0].value.empty()));
  CHECK((parameters[1].name == "backlog" && parameters[1].value == "NUMBER"));
  CHECK((parameters[2].name == "gzip" && parameters[2].value == "LEVEL"));
  CHECK((parameters[3].name == "keep" && parameters[3].value == "on|off|[IDLE]:[COUNT]"));
  CHECK(parameters[4].name == "off");
  CHECK(usage_parameters("").empty());
  CHECK(usage_parameters("[a=").size() == 1);  // anything ends
}

TEST_CASE("a refused argument is explained from the usage line") {
  constexpr std::string_view kUsage = "PATH [modified] TIME [ssl] [weight=NUMBER] [flush=TIME]";
  CHECK(explain_argument(kUsage, "wieght=2", 3) == "did you mean \"weight=NUMBER\"?");
  CHECK(explain_argument(kUsage, "weight", 3) == "\"weight\" needs a value: \"weight=NUMBER\"");
  CHECK(explain_argument(kUsage, "ssl=on", 3) == "\"ssl\" takes no value");
  CHECK(explain_argument(kUsage, "flush=5min", 3).starts_with("\"5min\" is written 5m"));
  CHECK(explain_argument(kUsage, "weight=0", 3) == "it is written \"weight=NUMBER\"");
  CHECK(explain_argument(kUsage, "5sec", 1).starts_with("\"5sec\" is written 5s"));
  CHECK(explain_argument(kUsage, "whatever", 0).empty());
}
