#include "modules/http/grpc_status.h"

#include <catch2/catch.hpp>

using namespace weir;
using namespace weir::http::grpc;

TEST_CASE("HTTP statuses map as gRPC's own document says") {
  const std::pair<int, int> mapping[] = {{400, 13}, {401, 16}, {403, 7},  {404, 12}, {429, 14},
                                         {502, 14}, {503, 14}, {504, 14}, {500, 2},  {413, 2},
                                         {405, 2},  {408, 2},  {418, 2}};
  for (const auto& [http_status, status] : mapping) {
    CAPTURE(http_status);
    CHECK(static_cast<int>(status_of_http(http_status)) == status);
    CHECK(number_text(status_of_http(http_status)) == std::to_string(status));
  }
}

TEST_CASE("grpc-status fields") {
  CHECK(parse_status("0") == Status::ok);
  CHECK(parse_status("14") == Status::unavailable);
  CHECK(parse_status("16") == Status::unauthenticated);
  for (const char* text : {"", "17", "014", "-1", "1x", " 1", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_status(text));
  }
}

TEST_CASE("content types of calls") {
  CHECK(kind_of("application/grpc") == Kind::grpc);
  CHECK(kind_of("application/grpc+proto") == Kind::grpc);
  CHECK(kind_of("Application/GRPC; charset=utf-8") == Kind::grpc);
  CHECK(kind_of("application/grpc-web") == Kind::web);
  CHECK(kind_of("application/grpc-web+json") == Kind::web);
  CHECK(kind_of("application/grpc-web-text") == Kind::web_text);
  CHECK(kind_of("application/grpc-web-text+proto") == Kind::web_text);
  for (const char* text : {"", "application/grpcx", "application/grpc-webby", "text/html",
                           "application/grpc-web-texts", "application/json"}) {
    CAPTURE(text);
    CHECK(kind_of(text) == Kind::none);
  }
  CHECK(message_format("application/grpc-web+proto") == "+proto");
  CHECK(message_format("application/grpc+json; x=y") == "+json");
  CHECK(message_format("application/grpc").empty());
}

TEST_CASE("grpc-message is percent-encoded where it must be") {
  Arena arena;
  CHECK(encode_message(arena, "Bad Gateway") == "Bad Gateway");
  CHECK(encode_message(arena, "100% \r\n\xc3\xa4~") == "100%25 %0D%0A%C3%A4~");
  CHECK(encode_message(arena, "").empty());
}
