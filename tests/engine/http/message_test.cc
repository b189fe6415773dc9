#include "engine/http/message.h"

#include <catch2/catch.hpp>

#include "engine/http/date.h"

namespace weir::http {
namespace {

TEST_CASE("http message: known names in any case, and no others") {
  CHECK(find_header_id("Host") == HeaderId::host);
  CHECK(find_header_id("hOST") == HeaderId::host);
  CHECK(find_header_id("Content-Length") == HeaderId::content_length);
  CHECK(find_header_id("if-unmodified-since") == HeaderId::if_unmodified_since);
  CHECK(find_header_id("X-Accel-Limit-Rate") == HeaderId::x_accel_limit_rate);
  CHECK(find_header_id("Content_Length") == HeaderId::other);
  CHECK(find_header_id("Content-LengtH ") == HeaderId::other);
  CHECK(find_header_id("") == HeaderId::other);
  CHECK(find_header_id(std::string(300, 'a')) == HeaderId::other);
  // '[' and '{' differ from each other as 'A' and 'a' do.
  CHECK(find_header_id("\x14"
                       "e") == HeaderId::other);
}

TEST_CASE("http message: header lists") {
  Arena arena;
  HeaderList list;
  CHECK(list.find(HeaderId::host) == nullptr);
  for (int i = 0; i < 100; ++i) list.add(arena, "X-Any", arena.copy(std::to_string(i)));
  list.add(arena, "Host", "a");
  list.add(arena, "Via", "1");
  list.add(arena, "via", "2");
  CHECK(list.size() == 103);
  CHECK(list.find(HeaderId::host)->value == "a");
  CHECK(list.find("x-any")->value == "0");
  CHECK(list.find("VIA")->value == "1");
  CHECK(list.find("x-none") == nullptr);
  CHECK(list.remove(HeaderId::via) == 2);
  CHECK(list.remove(HeaderId::via) == 0);
  CHECK(list.find(HeaderId::via) == nullptr);
  CHECK(list.size() == 101);
  HeaderList copy = list;
  copy.clear();
  CHECK(copy.empty());
  CHECK(copy.find(HeaderId::host) == nullptr);
  CHECK(list.find(HeaderId::host) != nullptr);
}

TEST_CASE("http message: methods and reasons") {
  CHECK(find_method("GET") == Method::get);
  CHECK(find_method("PROPPATCH") == Method::proppatch);
  CHECK(find_method("get") == Method::unknown);
  CHECK(find_method("") == Method::unknown);
  CHECK(reason_phrase(302) == "Moved Temporarily");
  CHECK(reason_phrase(299).empty());
}

TEST_CASE("http date") {
  char text[kDateSize];
  format_date(784111777, text);
  CHECK(std::string_view(text, kDateSize) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(cached_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(parse_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
  CHECK(parse_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784111777);
  CHECK(parse_date("Sun Nov  6 08:49:37 1994") == 784111777);
  CHECK(parse_date("Thu, 29 Feb 2024 00:00:00 GMT") == 1709164800);
  for (std::string_view bad :
       {"", "x", "Sun", "Sun, ", "Sun, 06 Nov 1994", "Sun, 31 Feb 2020 00:00:00 GMT",
        "Thu, 29 Feb 2023 00:00:00 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 0a Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_date(bad).has_value());
  }
  for (time_t when = 0; when < 4000000000; when += 86399 * 3) {
    format_date(when, text);
    REQUIRE(parse_date({text, kDateSize}) == when);
  }
}

}  // namespace
}  // namespace weir::http
