#include "engine/http/websocket.h"

#include <catch2/catch.hpp>

using namespace weir::http;

TEST_CASE("websocket: the answer to a key") {
  // RFC 6455 section 1.3.
  CHECK(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK(websocket_accept("") == "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
}

TEST_CASE("websocket: keys are fresh and of 16 bytes") {
  const std::string one = make_websocket_key();
  CHECK(one.size() == 24);
  CHECK(one.ends_with("=="));
  CHECK(one != make_websocket_key());
}
