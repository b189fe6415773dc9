#include "engine/http/framing.h"

#include <catch2/catch.hpp>

namespace weir::http {
namespace {

TEST_CASE("http framing: content length") {
  CHECK(parse_content_length("0") == 0);
  CHECK(parse_content_length("0012") == 12);
  CHECK(parse_content_length("9223372036854775807") == 9223372036854775807u);
  for (std::string_view bad : {"", " 1", "1 ", "+1", "-1", "1,1", "0x1", "9223372036854775808",
                               "18446744073709551617", "\xb2"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_content_length(bad).has_value());
  }
}

TEST_CASE("http framing: tokens") {
  CHECK(has_token("close", "close"));
  CHECK(has_token("a, Close ,b", "close"));
  CHECK(has_token("\tclose", "close"));
  CHECK_FALSE(has_token("closed", "close"));
  CHECK_FALSE(has_token("", "close"));
  CHECK_FALSE(has_token(",,", "close"));
}

TEST_CASE("http framing: hop by hop") {
  CHECK(is_hop_by_hop(HeaderId::connection));
  CHECK(is_hop_by_hop(HeaderId::transfer_encoding));
  CHECK(is_hop_by_hop(HeaderId::upgrade));
  CHECK_FALSE(is_hop_by_hop(HeaderId::content_length));
  CHECK_FALSE(is_hop_by_hop(HeaderId::other));
}

SentFraming frame(int status, BodyLength body, Method method, Version version) {
  MessageHead head;
  head.status = status;
  head.body = body;
  return frame_response(head, ReceivedFacts{method, version, true});
}

TEST_CASE("http framing: how a response is sent") {
  using Kind = BodyLength::Kind;
  using Body = SentFraming::Body;
  auto get = [](int status, BodyLength body) {
    return frame(status, body, Method::get, Version::http_1_1);
  };
  CHECK(get(200, {Kind::exact, 5}).body == Body::exact);
  CHECK(get(200, {Kind::exact, 5}).content_length);
  CHECK(get(200, {Kind::none, 0}).content_length);
  CHECK(get(200, {Kind::chunked, 0}).body == Body::chunked);
  CHECK_FALSE(get(200, {Kind::chunked, 0}).content_length);
  CHECK(get(200, {Kind::until_close, 0}).body == Body::until_close);
  CHECK_FALSE(get(200, {Kind::until_close, 0}).keep_alive);
  CHECK(get(204, {Kind::exact, 5}).body == Body::absent);
  CHECK_FALSE(get(204, {Kind::exact, 5}).content_length);
  CHECK(get(304, {Kind::exact, 5}).content_length);
  CHECK_FALSE(get(304, {Kind::none, 0}).content_length);
  CHECK(get(101, {Kind::none, 0}).body == Body::raw);
  auto old = frame(200, {Kind::chunked, 0}, Method::get, Version::http_1_0);
  CHECK(old.body == Body::until_close);
  CHECK_FALSE(old.keep_alive);
  auto head = frame(200, {Kind::exact, 5}, Method::head, Version::http_1_1);
  CHECK(head.body == Body::absent);
  CHECK(head.content_length);
  CHECK(head.keep_alive);
}

}  // namespace
}  // namespace weir::http
